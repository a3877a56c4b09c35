"""The loss chart with its axes, and the line of speeds under or beside it."""

from __future__ import annotations

from rich.text import Text

from swarmd.cli import units
from swarmd.cli.chart import EMPTY, MARK, RAW, SMOOTH, Cell, Frame, frame_of, line_chart, sparkline
from swarmd.cli.palette import ACCENT, DIM, WARN
from swarmd.protocols.control import RunView

_LABEL = 8
_STYLES = {EMPTY: "", RAW: DIM, SMOOTH: ACCENT, MARK: WARN}


def loss_chart(view: RunView, width: int, height: int) -> Text:
    """Training loss in ``height`` lines, the last of which is the step axis; held-out losses as marks."""
    plot_width, plot_height = width - _LABEL - 1, height - 1
    frame = frame_of(view.losses, view.evals)
    if frame is None or plot_width < 4 or plot_height < 1:
        return Text("no loss yet", style=DIM)
    cells = line_chart(view.losses, view.evals, frame, plot_width, plot_height)
    rows = [_label(frame, row, plot_height) + _cells(line) for row, line in enumerate(cells)]
    return Text("\n", no_wrap=True).join([*rows, _axis(frame, plot_width)])


def speed_line(speeds: tuple[float, ...], width: int) -> Text:
    """The course of tokens a second in one line."""
    label = f"{'tok/s':>{_LABEL}} "
    return Text.assemble((label, DIM), (sparkline(speeds, width - len(label), floor=0.0), ACCENT))


def _label(frame: Frame, row: int, height: int) -> Text:
    at = {0: frame.top, height - 1: frame.bottom}
    if height >= 7:
        at[height // 2] = (frame.top + frame.bottom) / 2
    text = units.loss(at[row]) if row in at else ""
    return Text.assemble((f"{text:>{_LABEL - 1}} ", DIM), ("┤" if text else "│", DIM))


def _cells(line: list[Cell]) -> Text:
    text = Text(no_wrap=True)
    for character, layer in line:
        text.append(character, _STYLES[layer])
    return text


def _axis(frame: Frame, width: int) -> Text:
    first, last = f"{frame.left:,.0f}", f"step {frame.right:,.0f}"
    gap = " " * max(1, width - len(first) - len(last))
    return Text(f"{'':>{_LABEL}} {first}{gap}{last}", style=DIM, no_wrap=True)
