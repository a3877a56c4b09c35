"""The pipeline strip: stages as boxes from left to right, with what flows between them on the arrows."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from rich.text import Text

from swarmd.cli import units
from swarmd.cli.pace import slowest
from swarmd.cli.palette import ACCENT, BAD, DIM, STRONG, busy_style
from swarmd.protocols.control import StageView

HEIGHT = 5
_ARROW, _SHORT_ARROW = 11, 4
_BOX_LEAST, _BOX_SLIM, _BOX_MOST = 20, 14, 32


def strip(stages: Sequence[StageView], width: int, *, tall: bool) -> Text:
    """The strip: ``HEIGHT`` lines of boxes if ``tall`` and they fit into ``width``, else flowing text."""
    columns = [list(group) for _, group in groupby(stages, key=lambda stage: stage.index)]
    if not columns:
        return Text("no stage has been placed yet", style=DIM)
    worst = slowest(stages)
    for arrow, least in ((_ARROW, _BOX_LEAST), (_SHORT_ARROW, _BOX_SLIM)):
        box = min(_BOX_MOST, (width - arrow * (len(columns) - 1)) // len(columns))
        if tall and box >= least:
            spare = (width - box * len(columns)) // max(1, len(columns) - 1)
            return _boxes(columns, worst, box, min(spare, 2 * arrow))
    return _flowing(columns, worst, width)


def bar(share: float, width: int, style: str) -> Text:
    """A bar of ``width`` cells."""
    full = min(width, max(0, round(share * width)))
    return Text.assemble(("━" * full, style), ("━" * (width - full), DIM))


def _boxes(columns: list[list[StageView]], worst: int | None, box: int, arrow: int) -> Text:
    rows = [Text(no_wrap=True) for _ in range(HEIGHT)]
    for position, replicas in enumerate(columns):
        arrows = [_arrow(columns[position - 1], arrow)] if position else []
        for block in (*arrows, _box(replicas, box, replicas[0].index == worst)):
            for row, part in zip(rows, block, strict=True):
                row.append_text(part)
    return Text("\n", no_wrap=True).join(rows)


def _box(replicas: list[StageView], width: int, is_worst: bool) -> list[Text]:
    stage = max(replicas, key=lambda each: each.forward_ms + each.backward_ms)
    edge = BAD if is_worst else DIM
    inner = width - 4
    busy = f" {units.percent(stage.busy):>5}"
    more = f" \u00d7{len(replicas)}" if len(replicas) > 1 else ""
    return [
        _edge("╭", f"{stage.index} {stage.name}{more}", "╮", width, edge, STRONG),
        _line(Text(f"layers {units.layers(stage)}"), inner, edge),
        _line(bar(stage.busy, inner - len(busy), busy_style(stage.busy, is_worst)) + Text(busy), inner, edge),
        _line(Text(_times(stage, inner)), inner, edge),
        _edge("╰", "slowest" if is_worst else "", "╯", width, edge, BAD),
    ]


def _times(stage: StageView, room: int) -> str:
    forward, backward = units.milliseconds(stage.forward_ms), units.milliseconds(stage.backward_ms)
    long = f"fwd {forward}  bwd {backward} ms"
    return long if len(long) <= room else f"{forward} + {backward} ms"


def _edge(left: str, title: str, right: str, width: int, edge: str, style: str) -> Text:
    label = Text(f" {title} " if title else "", style=style)
    label.truncate(width - 4, overflow="ellipsis")
    fill = "─" * (width - 3 - label.cell_len)
    return Text.assemble((f"{left}─", edge), label, (f"{fill}{right}", edge))


def _line(content: Text, inner: int, edge: str) -> Text:
    content.truncate(inner, overflow="ellipsis", pad=True)
    return Text.assemble(("│ ", edge), content, (" │", edge))


def _arrow(before: list[StageView], width: int) -> list[Text]:
    link = sum(stage.link_mbit for stage in before)
    blank = Text(" " * width)
    shaft = Text(f" {'─' * (width - 3)}▶ ", style=ACCENT if link else DIM)
    if width < _ARROW:
        return [blank, blank, shaft, blank, blank]
    figure = Text(f"{units.mbit(link):^{width}}" if link else " " * width)
    return [blank, figure, shaft, Text(f"{'Mbit/s':^{width}}" if link else " " * width, style=DIM), blank]


def _flowing(columns: list[list[StageView]], worst: int | None, width: int) -> Text:
    shown = [(stages[0], stages[0].index == worst) for stages in columns]
    arrow = Text(" ▶ ", style=ACCENT)
    long = arrow.join(_brief(stage, is_worst, True) for stage, is_worst in shown)
    short = arrow.join(_brief(stage, is_worst, False) for stage, is_worst in shown)
    return long if long.cell_len <= width else short


def _brief(stage: StageView, is_worst: bool, with_bar: bool) -> Text:
    text = Text.assemble((f"{stage.index} {stage.name}", f"{STRONG} {BAD}" if is_worst else STRONG))
    text.append(f" {units.layers(stage)} ", DIM)
    if with_bar:
        text.append_text(bar(stage.busy, 4, busy_style(stage.busy, is_worst))).append(" ")
    return text.append(units.percent(stage.busy))
