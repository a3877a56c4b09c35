"""Braille lines and sparklines."""

from __future__ import annotations

import math

import pytest

from swarmd.cli.chart import EMPTY, MARK, RAW, SMOOTH, Canvas, Frame, frame_of, line_chart, smooth, sparkline


def text(cells: list[list[tuple[str, int]]]) -> list[str]:
    return ["".join(character for character, _ in row) for row in cells]


def test_one_cell_holds_two_by_four_dots() -> None:
    canvas = Canvas(1, 1)
    for y in range(4):
        canvas.dot(0, y, RAW)
    assert canvas.rows() == [[("⡇", RAW)]]
    canvas.dot(1, 3, SMOOTH)
    assert canvas.rows() == [[("⣇", SMOOTH)]]


def test_an_untouched_cell_is_a_space_without_a_layer() -> None:
    assert Canvas(2, 1).rows() == [[(" ", EMPTY), (" ", EMPTY)]]


def test_a_falling_line_goes_from_the_top_left_to_the_bottom_right() -> None:
    points = [(float(x), float(-x)) for x in range(8)]
    assert text(line_chart(points, (), Frame(0, 7, -7, 0), 4, 2)) == ["⠑⢄  ", "  ⠑⢄"]


def test_a_line_joins_points_that_are_far_apart() -> None:
    rows = text(line_chart([(0, 0), (1, 1)], (), Frame(0, 1, 0, 1), 6, 3))
    assert all(any(character != " " for character in column) for column in zip(*rows, strict=True))


def test_marks_lie_over_the_line() -> None:
    rows = line_chart([(0, 1), (1, 1)], [(1, 1), (1, math.nan)], Frame(0, 1, 0, 1), 2, 1)
    assert rows == [[("⠉", SMOOTH), ("◆", MARK)]]


def test_a_gap_in_the_data_is_a_gap_in_the_raw_line() -> None:
    rows = line_chart([(0, 1), (1, math.nan), (2, 1)], (), Frame(0, 2, 0, 1), 6, 1)
    assert rows[0][0][1] == SMOOTH
    assert smooth([(0, 1), (1, math.inf), (2, 3)]) == [(0, 1), (2, 3)]


def test_the_frame_holds_every_finite_point_with_a_margin() -> None:
    frame = frame_of([(1, 2.0), (5, math.nan)], [(3, 4.0)])
    assert frame is not None
    assert (frame.left, frame.right) == (1, 3)
    assert frame.bottom < 2 < 4 < frame.top
    assert frame_of([(0, math.nan)], []) is None


@pytest.mark.parametrize("value", [0.0, 5.0])
def test_a_level_line_is_in_the_middle(value: float) -> None:
    frame = frame_of([(0, value), (9, value)])
    assert frame is not None
    assert frame.row(value, 9) == 4


def test_a_single_point_has_a_place() -> None:
    frame = frame_of([(3, 1.0)])
    assert frame is not None
    assert (frame.column(3, 10), frame.row(1.0, 8)) == (0, 4)
    assert Frame(0, 1, 2, 2).row(2, 9) == 4


def test_smoothing_keeps_a_straight_line_and_does_not_lag() -> None:
    line = [(float(x), 2.0 * x) for x in range(200)]
    assert [y for _, y in smooth(line)] == pytest.approx([y for _, y in line])


def test_smoothing_takes_the_noise_out() -> None:
    noisy = [(float(x), (-1.0) ** x) for x in range(200)]
    assert max(abs(y) for _, y in smooth(noisy)[20:-20]) < 0.2
    assert smooth([]) == []


def test_a_sparkline_spans_eight_levels() -> None:
    assert sparkline(range(8), 8) == "▁▂▃▄▅▆▇█"


def test_a_sparkline_averages_what_does_not_fit() -> None:
    assert sparkline([0, 0, 7, 7], 2) == "▁█"
    assert sparkline([1, 2], 10) == "▁█"


def test_a_sparkline_with_a_floor_shows_steadiness() -> None:
    assert sparkline([98, 100, 60], 3, floor=0.0) == "██▅"
    assert sparkline([5, 5], 2) == "▄▄"


def test_a_sparkline_of_nothing() -> None:
    assert sparkline([], 5) == sparkline([math.nan], 5) == sparkline([1], 0) == ""
