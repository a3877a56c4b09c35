"""Charts from characters: braille lines (2 by 4 dots a cell) and sparklines of eight levels.

Pure: values in, rows of (character, layer) out; a layer is an index the caller gives a colour to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import TypeAlias

BLOCKS = "▁▂▃▄▅▆▇█"
EMPTY = -1
RAW, SMOOTH, MARK = 0, 1, 2

Points: TypeAlias = Sequence[tuple[float, float]]
Cell: TypeAlias = tuple[str, int]

_BRAILLE = 0x2800
_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


@dataclass(frozen=True, slots=True)
class Frame:
    """The data ranges a chart spans."""

    left: float
    right: float
    bottom: float
    top: float

    def column(self, x: float, width: int) -> int:
        """The dot column of x among ``width``."""
        share = (x - self.left) / (self.right - self.left) if self.right > self.left else 0.0
        return min(width - 1, max(0, round(share * (width - 1))))

    def row(self, y: float, height: int) -> int:
        """The dot row of y among ``height``, 0 at the top."""
        share = (y - self.bottom) / (self.top - self.bottom) if self.top > self.bottom else 0.5
        return min(height - 1, max(0, round((1 - share) * (height - 1))))


class Canvas:
    """A grid of braille cells; a later layer colours the cells it shares with an earlier one."""

    def __init__(self, width: int, height: int) -> None:
        """Width and height in cells."""
        self.width, self.height = width, height
        self._dots = [[0] * width for _ in range(height)]
        self._layers = [[EMPTY] * width for _ in range(height)]
        self._marks: dict[tuple[int, int], str] = {}

    def dot(self, x: int, y: int, layer: int) -> None:
        """Set one dot, x in 0..2 width, y in 0..4 height."""
        row, column = y // 4, x // 2
        self._dots[row][column] |= _DOTS[x % 2][y % 4]
        self._layers[row][column] = max(layer, self._layers[row][column])

    def mark(self, x: int, y: int, sign: str, layer: int) -> None:
        """Put a character over the cell that holds a dot."""
        self._marks[y // 4, x // 2] = sign
        self._layers[y // 4][x // 2] = layer

    def rows(self) -> list[list[Cell]]:
        """The cells, top to bottom."""
        return [[self._cell(row, column) for column in range(self.width)] for row in range(self.height)]

    def _cell(self, row: int, column: int) -> Cell:
        dots = self._dots[row][column]
        plain = chr(_BRAILLE | dots) if dots else " "
        return self._marks.get((row, column), plain), self._layers[row][column]


def frame_of(*series: Points, right: float | None = None) -> Frame | None:
    """The ranges that hold every finite point, widened a little; None without points."""
    points = [point for each in series for point in each if math.isfinite(point[1])]
    if not points:
        return None
    low, high = min(y for _, y in points), max(y for _, y in points)
    margin = (high - low) * 0.04 or max(abs(high) * 0.05, 1e-6)
    last = max(x for x, _ in points)
    return Frame(min(x for x, _ in points), last if right is None else max(last, right), low - margin, high + margin)


def line_chart(points: Points, marks: Points, frame: Frame, width: int, height: int) -> list[list[Cell]]:
    """A raw line, its smoothed form over it, and marks over both."""
    canvas = Canvas(width, height)
    _draw(canvas, points, frame, RAW)
    _draw(canvas, smooth(points), frame, SMOOTH)
    for x, y in marks:
        if math.isfinite(y):
            canvas.mark(frame.column(x, 2 * width), frame.row(y, 4 * height), "◆", MARK)
    return canvas.rows()


def smooth(points: Points, share: float = 0.06) -> list[tuple[float, float]]:
    """A mean over about ``share`` of the points around each: centred, so that it does not lag behind."""
    finite = [point for point in points if math.isfinite(point[1])]
    sums = [0.0, *accumulate(y for _, y in finite)]
    reach = int(len(finite) * share / 2)
    return [(x, _mean(sums, at, min(reach, at, len(finite) - 1 - at))) for at, (x, _) in enumerate(finite)]


def _mean(sums: Sequence[float], at: int, reach: int) -> float:
    return (sums[at + reach + 1] - sums[at - reach]) / (2 * reach + 1)


def sparkline(values: Sequence[float], width: int, *, floor: float | None = None) -> str:
    """The values in at most ``width`` characters of eight heights, averaged where there are more."""
    finite = [value for value in values if math.isfinite(value)]
    if not finite or width < 1:
        return ""
    means = _means(finite, min(width, len(finite)))
    low = min(means) if floor is None else floor
    span = max(means) - low
    return "".join(BLOCKS[_level(value, low, span)] for value in means)


def _level(value: float, low: float, span: float) -> int:
    if span <= 0:
        return 3
    return min(7, max(0, int((value - low) / span * 8)))


def _means(values: Sequence[float], count: int) -> list[float]:
    edges = [index * len(values) // count for index in range(count + 1)]
    return [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]


def _draw(canvas: Canvas, points: Points, frame: Frame, layer: int) -> None:
    width, height = 2 * canvas.width, 4 * canvas.height
    before: tuple[int, int] | None = None
    for x, y in points:
        if not math.isfinite(y):
            before = None
            continue
        here = frame.column(x, width), frame.row(y, height)
        for dot in _between(before or here, here):
            canvas.dot(*dot, layer)
        before = here


def _between(start: tuple[int, int], end: tuple[int, int]) -> Iterable[tuple[int, int]]:
    steps = max(abs(end[0] - start[0]), abs(end[1] - start[1]), 1)
    for step in range(steps + 1):
        yield (
            start[0] + round((end[0] - start[0]) * step / steps),
            start[1] + round((end[1] - start[1]) * step / steps),
        )
