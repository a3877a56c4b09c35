"""The dashboard's picture: a pure function of a snapshot, the screen's state and its size.

Small screens drop panels in a fixed order: under 100 by 30 the side column (speeds, events, peers), then
the stage table, then the pipeline's boxes; the header and the loss remain down to 60 by 15.
"""

from __future__ import annotations

from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.layout import Layout
from rich.text import Text

from swarmd.cli import panels, report, tables, units
from swarmd.cli.chart import sparkline
from swarmd.cli.loss_panel import loss_chart, speed_line
from swarmd.cli.palette import ACCENT, DIM, STRONG, WARN
from swarmd.cli.strip import HEIGHT as STRIP_HEIGHT
from swarmd.protocols.control import FINAL_STATES, EventView, RunView, Snapshot

VIEWS = ("overview", "stages", "peers", "events")
_HEADER, _FOOTER, _RESULT, _BORDER = 5, 1, 4, 2
_CHART_LEAST, _CHART_MORE, _SPEED_PANEL, _EVENTS_LEAST = 6, 2, 3, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """What the person has chosen to see, and what the dashboard itself has to say."""

    view: str = "overview"
    help: bool = False
    paused: bool = False
    speeds: tuple[float, ...] = ()
    """Tokens a second as they were seen, oldest first."""
    notice: str = ""


def render(snapshot: Snapshot | None, screen: Screen, width: int, height: int) -> RenderableType:
    """One whole frame."""
    run = snapshot.run if snapshot else None
    rows: list[Layout] = []
    header = _header_lines(run)
    if run and snapshot:
        rows.append(Layout(panels.header(run, snapshot.node, width), size=header))
    left = height - _FOOTER - header
    rows += _body(snapshot, screen, width, left)
    rows.append(Layout(footer(screen, run, width), size=_FOOTER))
    frame = Layout()
    frame.split_column(*rows)
    return frame


def footer(screen: Screen, run: RunView | None, width: int) -> Text:
    """The keys, and what the dashboard has to say."""
    goes_on = " (the run goes on)" if run and run.state not in FINAL_STATES else ""
    text = Text(no_wrap=True, overflow="ellipsis")
    if screen.notice or screen.paused:
        text.append(f" {screen.notice or 'paused'} ", f"{WARN} reverse")
    text.append(" q", STRONG).append(f" quit{goes_on}  ", DIM).append("?", STRONG).append(" help  ", DIM)
    text.append("p", STRONG).append(" go on  " if screen.paused else " pause  ", DIM)
    if width < 90:
        return text.append("1-4", STRONG).append(" views", DIM)
    for number, name in enumerate(VIEWS, 1):
        chosen = name == screen.view
        text.append(f"{number}", STRONG).append(f" {name}  ", ACCENT if chosen else DIM)
    return text


def events(snapshot: Snapshot) -> tuple[EventView, ...]:
    """Those of the shown run, and of the node since that run began; all of them without a run."""
    run = snapshot.run
    if run is None:
        return snapshot.events

    def belongs(event: EventView) -> bool:
        return event.run == run.run if event.run else event.time >= run.created

    return tuple(filter(belongs, snapshot.events))


def _header_lines(run: RunView | None) -> int:
    return 0 if run is None else _HEADER + (run.spending is not None)


def _body(snapshot: Snapshot | None, screen: Screen, width: int, height: int) -> list[Layout]:
    if screen.help:
        return [Layout(panels.help_panel())]
    if snapshot is None:
        return [Layout(panels.panel(Text(screen.notice or "connecting to the daemon …", style=DIM), "swarmd"))]
    if screen.view == "peers":
        return [Layout(panels.panel(tables.peers(snapshot.peers), f"peers ({len(snapshot.peers)})"))]
    if screen.view == "events":
        return [Layout(panels.event_log(events(snapshot), height - _BORDER))]
    if snapshot.run is None:
        return _idle(snapshot, width, height)
    if screen.view == "stages":
        return _stages(snapshot.run, width)
    return _overview(snapshot, snapshot.run, screen, width, height)


def _idle(snapshot: Snapshot, width: int, height: int) -> list[Layout]:
    node = tables.node(snapshot.node)
    size = 12 + (snapshot.node.credits is not None) + len(snapshot.node.addresses) + _BORDER
    hint = Text.assemble("\n", ("no run yet; launch one with  ", DIM), ("swarmd train JOB.toml", ACCENT))
    rows = [
        Layout(
            panels.panel(Group(node, hint), "this node", note=f"swarmd {snapshot.node.version}"),
            size=size + 2,
        )
    ]
    if height - size - 2 >= _EVENTS_LEAST:
        rows.append(Layout(panels.event_log(snapshot.events, height - size - 2 - _BORDER)))
    return rows


def _stages(run: RunView, width: int) -> list[Layout]:
    reasons = tables.grid(list({each.index: (f"stage {each.index}", each.reason) for each in run.stages}.values()))
    return [
        Layout(panels.pipeline(run, width, tall=True), size=STRIP_HEIGHT + _BORDER),
        Layout(panels.stage_table(run.stages, width, len(run.stages)), size=len(run.stages) + 1 + _BORDER),
        Layout(panels.panel(reasons, "why they are there")),
    ]


def _overview(snapshot: Snapshot, run: RunView, screen: Screen, width: int, height: int) -> list[Layout]:
    rows: list[Layout] = []
    spare = height - _CHART_LEAST
    if run.state in FINAL_STATES and spare >= _RESULT:
        rows.append(Layout(panels.result(run), size=_RESULT))
        spare -= _RESULT
    strip = _strip_height(run, spare)
    if strip:
        tall = strip > 1
        rows.append(Layout(panels.pipeline(run, width, tall=tall), size=strip + _BORDER))
        spare -= strip + _BORDER
    table = len(run.stages) + 1 + _BORDER
    if run.stages and spare >= table + _CHART_MORE:
        rows.append(Layout(panels.stage_table(run.stages, width, len(run.stages)), size=table))
        spare -= table
    return [
        *rows,
        _bottom(snapshot, run, screen, width, spare + _CHART_LEAST, roomy=height + _header_lines(run) + _FOOTER >= 30),
    ]


def _strip_height(run: RunView, spare: int) -> int:
    if not run.stages or spare < 1 + _BORDER + _CHART_MORE:
        return 0
    return STRIP_HEIGHT if spare >= STRIP_HEIGHT + _BORDER else 1


def _bottom(snapshot: Snapshot, run: RunView, screen: Screen, width: int, height: int, *, roomy: bool) -> Layout:
    if width < 100 or not roomy:
        return Layout(_loss(run, screen.speeds, width, height, with_speed=height >= 9), size=height)
    side = min(52, width * 2 // 5)
    area = Layout(size=height)
    area.split_row(
        Layout(_loss(run, (), width - side, height, with_speed=False), size=width - side),
        Layout(_side(snapshot, run, screen, side, height)),
    )
    return area


def _loss(run: RunView, speeds: tuple[float, ...], width: int, height: int, *, with_speed: bool) -> RenderableType:
    chart = loss_chart(run, width - 4, height - _BORDER - with_speed)
    note = f"◆ held out {units.loss(run.evals[-1][1])} at step {run.evals[-1][0]:,}" if run.evals else ""
    content = Group(chart, speed_line(speeds, width - 4)) if with_speed and speeds else chart
    return panels.panel(content, "loss", note=note)


def _side(snapshot: Snapshot, run: RunView, screen: Screen, width: int, height: int) -> Layout:
    speeds = Text(sparkline(screen.speeds, width - 4, floor=0.0), style=ACCENT, no_wrap=True)
    parts = [
        Layout(
            panels.panel(speeds, "tok/s", note=f"mean {units.speed(run.tokens_per_s_mean)}"),
            size=_SPEED_PANEL,
        )
    ]
    left = height - _SPEED_PANEL
    others = max(1, min(6, sum(peer.peer != snapshot.node.peer for peer in snapshot.peers)))
    if left - others - _BORDER >= _EVENTS_LEAST:
        parts.append(Layout(panels.peer_list(snapshot.peers, snapshot.node.peer, others), size=others + _BORDER))
        left -= others + _BORDER
    parts.append(Layout(panels.event_log(events(snapshot), left - _BORDER)))
    column = Layout()
    column.split_column(*parts)
    return column


def last_word(run: RunView) -> str:
    """What stays on the terminal when the dashboard closes."""
    return f"{run.name} ({units.short_id(run.run)}): {report.progress_line(run)}"
