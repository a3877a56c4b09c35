"""The panels of the dashboard: each a function from a part of a snapshot to a renderable."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from swarmd.cli import report, tables, units
from swarmd.cli.output import named
from swarmd.cli.pace import idle_share, slowest
from swarmd.cli.palette import ACCENT, BAD, DIM, GOOD, STRONG, state_style
from swarmd.cli.spending import spending_line
from swarmd.cli.strip import bar, strip
from swarmd.protocols.control import FINAL_STATES, STATES, EventView, NodeView, PeerView, RunView, StageView

KEYS = (
    ("q", "quit; the run goes on"),
    ("p", "pause the picture; the run goes on"),
    ("tab", "next view"),
    ("1 2 3 4", "overview, stages, peers, events"),
    ("?", "this help"),
)


def panel(content: RenderableType, title: str | Text, *, note: str = "", style: str = DIM) -> Panel:
    """A panel in the style all of them have."""
    return Panel(
        content,
        title=title if isinstance(title, Text) else Text(title, style=DIM),
        title_align="left",
        subtitle=Text(note, style=DIM) if note else None,
        subtitle_align="right",
        border_style=style,
        padding=(0, 1),
    )


def header(view: RunView, node: NodeView, width: int) -> Panel:
    """Job, state, progress and the figures that matter most: five lines, six where the run is paid for."""
    title = Text.assemble((f"{view.name} ", STRONG), (f"{units.short_id(view.run)} ", DIM), tables.state(view.state))
    counted = f"{node.peers} peer" if node.peers == 1 else f"{node.peers} peers"
    inner = width - 4
    return panel(
        Group(
            _figures(view, inner), _progress(view, inner), *([spending_line(view.spending)] if view.spending else [])
        ),
        title,
        note=f"{counted} · swarmd {node.version}",
        style=state_style(view.state),
    )


def _figures(view: RunView, width: int) -> Table:
    held_out = units.loss(view.evals[-1][1]) if view.evals else units.DASH
    now = view.tokens_per_s if view.state == "training" else view.tokens_per_s_mean
    cells = [
        ("step", f"{view.step:,} / {view.steps:,}", 0),
        ("loss", units.loss(view.loss), 0),
        ("tok/s", units.speed(now), 0),
        ("time left", units.duration(view.eta if view.state not in FINAL_STATES else None), 1),
        ("elapsed", units.duration(view.elapsed), 2),
        ("held out", held_out, 3),
        ("tok/s mean", units.speed(view.tokens_per_s_mean), 4),
        ("parameters", units.scaled(view.parameters), 5),
    ]
    shown = [cell for cell in cells if cell[2] <= (width - 30) // 11]
    table = Table.grid(expand=True, padding=(0, 1, 0, 0))
    for _ in shown:
        table.add_column(no_wrap=True)
    table.add_row(*(Text(name, style=DIM) for name, _, _ in shown))
    table.add_row(*(Text(value, style=STRONG) for _, value, _ in shown))
    return table


def _progress(view: RunView, width: int) -> Text:
    if view.reason:
        return _one_line(Text(view.reason, style=BAD if view.state == "failed" else ""))
    if view.state not in ("training", *FINAL_STATES):
        return _phases(view.state, width)
    share = view.step / view.steps if view.steps else 0.0
    figure = f" {units.percent(share):>5}"
    return bar(share, width - len(figure), state_style(view.state)) + Text(figure)


def _phases(state: str, width: int) -> Text:
    phases = [name for name in STATES if name not in (*FINAL_STATES, "recovering")]
    at = phases.index(state) if state in phases else 0
    parts = [
        Text(f"✔ {name}", style=GOOD)
        if index < at
        else Text(f"{'●' if index == at else '○'} {name}", style=_now(index == at))
        for index, name in enumerate(phases)
    ]
    line = Text("  ").join(parts)
    return line if line.cell_len <= width else Text(f"● {state}, phase {at + 1} of {len(phases)}", style=ACCENT)


def _now(is_now: bool) -> str:
    return ACCENT if is_now else DIM


def pipeline(view: RunView, width: int, *, tall: bool) -> Panel:
    """The strip in a frame."""
    idle = idle_share(view.stages)
    note = f"idle {units.percent(idle)}" if idle is not None and view.state == "training" else ""
    return panel(strip(view.stages, width - 4, tall=tall), "pipeline", note=note)


def stage_table(stages: Sequence[StageView], width: int, rows: int) -> Panel:
    """The stages' figures in ``rows`` lines at most."""
    table = tables.stages(stages[:rows], slowest(stages), compact=width < 110)
    left = len(stages) - rows
    return panel(table, "stages", note=f"{left} more: 2" if left > 0 else "")


def peer_list(peers: Sequence[PeerView], own: str, rows: int) -> Panel:
    """Names and speeds of the peers, for the side of the screen."""
    table = Table.grid(padding=(0, 1), expand=True)
    table.add_column(width=1)
    table.add_column(no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column(no_wrap=True, justify="right")
    table.add_column(no_wrap=True, justify="right")
    others = sorted((peer for peer in peers if peer.peer != own), key=lambda peer: (not peer.connected, peer.name))
    for peer in others[:rows]:
        sign = Text("●", style=GOOD) if peer.connected else Text("○", style=DIM)
        ping = "" if peer.round_trip_ms is None else f"{peer.round_trip_ms:.0f} ms"
        table.add_row(
            sign, peer.name, Text(ping, style=DIM), tables.speed(peer.device) if peer.device.flops else "not probed yet"
        )
    left = len(others) - rows
    return panel(table if others else Text("none yet", style=DIM), "peers", note=f"{left} more: 3" if left > 0 else "")


def event_log(events: Sequence[EventView], rows: int) -> Panel:
    """The newest events, the newest at the bottom."""
    lines = [_one_line(report.event(event)) for event in events[-rows:]] if rows > 0 else []
    return panel(Group(*lines) if lines else Text("nothing has happened yet", style=DIM), "events")


def result(view: RunView) -> Panel:
    """Where the result of an ended run is, and what to type next: four lines."""
    lines = [_one_line(Text.assemble(("files  ", DIM), report.files(view)))]
    lines += [
        _one_line(Text.assemble(("next   ", DIM), (named(report.what_next(view)).splitlines()[0].strip(), ACCENT)))
    ]
    return panel(Group(*lines), "result")


def help_panel() -> Panel:
    """What the keys do."""
    note = Text("\nThis screen only watches. Stop a run with: swarmd jobs stop RUN", style=DIM)
    rows = [(key, Text(meaning)) for key, meaning in KEYS]
    return panel(Group(tables.grid([(key, value) for key, value in rows]), note), "keys", style=ACCENT)


def _one_line(text: Text) -> Text:
    text.no_wrap, text.overflow = True, "ellipsis"
    return text
