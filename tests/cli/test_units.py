"""Numbers as people read them."""

from __future__ import annotations

import pytest

from swarmd.cli import units


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (7, "7.00"),
        (999.4, "999"),
        (999.6, "1.00 k"),
        (1234, "1.23 k"),
        (7_340_032, "7.34 M"),
        (2e18, "2000 P"),
    ],
)
def test_scaled(value: float, text: str) -> None:
    assert units.scaled(value) == text


def test_flops_keep_their_unit() -> None:
    assert units.flops(82.6e12) == "82.6 TFLOP/s"
    assert units.flops(5) == "5.00 FLOP/s"


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 B"), (999, "999 B"), (1000, "0.98 KiB"), (12 << 30, "12.0 GiB"), (5 << 50, "5120 TiB")],
)
def test_size(count: int, text: str) -> None:
    assert units.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, units.DASH),
        (-1, "0s"),
        (59.4, "59s"),
        (59.6, "1m00s"),
        (3599, "59m59s"),
        (7512, "2h05m"),
        (90000, "1d01h"),
    ],
)
def test_duration(seconds: float | None, text: str) -> None:
    assert units.duration(seconds) == text


def test_figures_of_a_run() -> None:
    assert (units.speed(0), units.speed(3.14), units.speed(12_342.4)) == ("0", "3.1", "12,342")
    assert (units.milliseconds(7.44), units.milliseconds(1234)) == ("7.4", "1,234")
    assert (units.mbit(38.2), units.mbit(940.4)) == ("38.2", "940")
    assert (units.loss(None), units.loss(2.34124)) == (units.DASH, "2.3412")
    assert units.percent(0.714) == "71 %"


def test_ids_are_cut_to_the_part_that_differs() -> None:
    assert units.short_id("ab" * 32) == "abababab"
    assert units.short_id("12D3KooWxyzABCDEFGH") == "ABCDEFGH"


def test_times() -> None:
    assert units.clock(0) == "00:00:00"
    assert units.moment(0) == "1970-01-01 00:00"
