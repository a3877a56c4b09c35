"""What the reading commands print for people: pure functions from views to rich tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from swarmd.cli import units
from swarmd.cli.palette import ACCENT, BAD, DIM, GOOD, STRONG, WARN, state_mark, state_style
from swarmd.cli.spending import credits_line
from swarmd.protocols.control import DeviceView, HostedView, NodeView, PeerView, RunView, StageView

_NOT_PROBED = "not probed yet"
_SIZES = ("memory_limit", "disk_quota")
"""Settings in bytes."""


def grid(rows: Iterable[tuple[str, str | Text]]) -> Table:
    """Names on the left, values on the right."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style=DIM, no_wrap=True)
    table.add_column(overflow="fold")
    for name, value in rows:
        table.add_row(name, value)
    return table


def columns(*titles: str) -> Table:
    """A table without lines; a title that begins with ``>`` names a column of numbers."""
    table = Table(box=None, header_style=DIM, pad_edge=False, padding=(0, 2, 0, 0))
    for title in titles:
        table.add_column(title.removeprefix(">"), justify="right" if title.startswith(">") else "left", no_wrap=True)
    return table


def node(view: NodeView) -> Table:
    """What ``swarmd status`` says."""
    activity = Text(f"a stage of {', '.join(map(units.short_id, view.hosting))}", style=GOOD) if view.hosting else None
    first, *others = view.addresses or ("none yet",)
    return grid(
        [
            ("peer", Text(view.peer, style=STRONG)),
            ("network", units.network(view.network)),
            ("address", first),
            *(("", address) for address in others),
            ("device", device_line(view.device)),
            ("peers", str(view.peers)),
            ("hosting", activity or Text("nothing", style=WARN)),
            *([("why idle", view.idle_reason)] if view.idle_reason else []),
            ("runs", str(view.runs)),
            *([("credits", credits_line(view.credits))] if view.credits else []),
            ("up for", units.duration(view.uptime)),
            ("daemon", f"swarmd {view.version}, process {view.pid}"),
            ("state", view.state_dir),
        ]
    )


def device_line(device: DeviceView | None) -> str:
    """One line on a device."""
    if device is None:
        return "being measured"
    kind = units.counted(device.threads, "thread") if device.kind == "cpu" else device.kind
    return f"{device.name} ({kind}), {units.size(device.memory_bytes)}, {units.flops(device.flops)}"


def memory(device: DeviceView) -> str:
    """A device's memory; a dash before it has been measured."""
    return units.size(device.memory_bytes) if device.flops else units.DASH


def speed(device: DeviceView) -> str:
    """A device's speed; a dash before it has been measured."""
    return units.flops(device.flops) if device.flops else units.DASH


def peers(views: Sequence[PeerView]) -> Table:
    """What ``swarmd peers`` says."""
    table = columns("", "peer", "name", "device", ">memory", ">speed", ">price", "accepts", ">ping", ">advert")
    for view in sorted(views, key=lambda each: (not each.connected, each.name)):
        table.add_row(
            Text("●", style=GOOD) if view.connected else Text("○", style=DIM),
            Text(units.short_id(view.peer), style=ACCENT),
            view.name,
            view.device.name if view.device.flops else _NOT_PROBED,
            memory(view.device),
            speed(view.device),
            f"{view.price:,}",
            view.accepts,
            units.DASH if view.round_trip_ms is None else f"{view.round_trip_ms:.1f} ms",
            units.duration(view.expires_in),
        )
    return table


def devices(rows: Sequence[tuple[str, str, DeviceView]]) -> Table:
    """What ``swarmd gpus`` says: (peer id, name, device) a row, fastest first."""
    table = columns("peer", "name", "device", "kind", ">memory", ">speed", ">busy", ">temp", ">power")
    for peer, name, view in sorted(rows, key=lambda row: -row[2].flops):
        table.add_row(
            Text(units.short_id(peer), style=ACCENT),
            name,
            view.name if view.flops else _NOT_PROBED,
            view.kind if view.flops else units.DASH,
            memory(view),
            speed(view),
            units.DASH if view.utilization is None else units.percent(view.utilization),
            units.DASH if view.temperature_c is None else f"{view.temperature_c:.0f} °C",
            units.DASH if view.power_w is None else f"{view.power_w:.0f} W",
        )
    return table


def runs(views: Sequence[RunView]) -> Table:
    """What ``swarmd jobs ls`` says."""
    table = columns("run", "name", "state", ">step", ">loss", ">tok/s", ">elapsed", ">left", "started")
    for view in views:
        running = view.state == "training"
        table.add_row(
            Text(units.short_id(view.run), style=ACCENT),
            view.name,
            state(view.state),
            f"{view.step:,} / {view.steps:,}",
            units.loss(view.loss),
            units.speed(view.tokens_per_s if running else view.tokens_per_s_mean),
            units.duration(view.elapsed),
            units.duration(view.eta if running else None),
            units.moment(view.created),
        )
    return table


def hosted(views: Sequence[HostedView]) -> Table:
    """What ``swarmd jobs ls`` says of others' runs."""
    table = columns("run", "of", "here", ">lane")
    for view in views:
        run, submitter = units.short_id(view.run), units.short_id(view.submitter)
        table.add_row(Text(run, style=ACCENT), submitter, view.stage, str(view.lane or units.DASH))
    return table


def stages(views: Sequence[StageView], slowest: int | None = None, *, compact: bool = False) -> Table:
    """Who holds which layers, and how fast; ``compact`` keeps to what fits in 76 columns."""
    wide = () if compact else (">sent", ">received", ">cpu")
    table = columns(">#", "peer", "device", ">layers", ">step", ">busy", ">fwd ms", ">bwd ms", ">Mbit/s", *wide)
    for view in views:
        table.add_row(*_stage_cells(view)[: len(table.columns)], style=BAD if view.index == slowest else None)
    return table


def _stage_cells(view: StageView) -> list[str]:
    return [
        str(view.index),
        f"{view.name} {units.short_id(view.peer)}",
        view.device,
        units.layers(view),
        f"{view.step:,}",
        units.percent(view.busy),
        units.milliseconds(view.forward_ms),
        units.milliseconds(view.backward_ms),
        units.mbit(view.link_mbit) if view.link_mbit else units.DASH,
        units.size(view.bytes_sent),
        units.size(view.bytes_received),
        units.duration(view.cpu_seconds),
    ]


def state(name: str) -> Text:
    """A run's state with its sign."""
    return Text(f"{state_mark(name)} {name}", style=state_style(name))


def settings(rows: Sequence[dict[str, Any]], *, origin: bool) -> Table:
    """What ``swarmd config show`` says."""
    table = columns("setting", "value", *(["origin"] if origin else []))
    for row in rows:
        cells = [str(row["name"]), _setting(str(row["name"]), row["value"]), *([str(row["origin"])] if origin else [])]
        table.add_row(*cells)
    return table


def _setting(name: str, value: object) -> str:
    if name in _SIZES and type(value) is int:
        return units.size(value) if value else "0 (no limit of its own)"
    return _value(value)


def _value(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value)) or units.DASH
    return units.DASH if value in (None, "") else str(value)
