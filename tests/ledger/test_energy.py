"""Kilowatt-hours of the work here: by day, kept across restarts, and never in the way."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.energy import DAYS_KEPT, EnergyMeter, day_of

NOON = 1_790_000_000.0
DAY = 86_400.0


class Machine:
    """What a meter asks."""

    def __init__(self, path: Path, *, watts: float | None = 250.0, usual: float = 0.0) -> None:
        self.now, self.busy, self.watts = NOON, True, watts
        self.meter = EnergyMeter(path, lambda: self.busy, lambda: self.watts, usual, lambda: self.now)


def test_power_over_time_is_energy_while_something_runs(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "energy.json")
    machine.meter.sample(3600.0)
    machine.busy = False
    machine.meter.sample(3600.0)
    assert machine.meter.days == {day_of(NOON): 0.25}
    assert machine.meter.source == "measured"


def test_a_device_that_tells_nothing_counts_by_its_owner_s_word(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "energy.json", watts=None, usual=100.0)
    machine.meter.sample(3600.0)
    assert machine.meter.days == {day_of(NOON): 0.1}
    assert machine.meter.source == "setting"
    unknown = Machine(tmp_path / "other.json", watts=None)
    unknown.meter.sample(3600.0)
    assert (unknown.meter.days, unknown.meter.source) == ({}, "")


def test_days_are_kept_apart_and_not_for_ever(tmp_path: Path) -> None:
    machine = Machine(tmp_path / "energy.json")
    for _ in range(DAYS_KEPT + 3):
        machine.meter.sample(36.0)
        machine.now += DAY
    assert len(machine.meter.days) == DAYS_KEPT
    assert min(machine.meter.days) == day_of(NOON + 3 * DAY)


async def test_a_restart_goes_on_from_the_file(tmp_path: Path, autojump_clock: trio.testing.MockClock) -> None:
    machine = Machine(tmp_path / "energy.json")
    with trio.move_on_after(95):
        await machine.meter.run()
    again = Machine(tmp_path / "energy.json")
    again.meter.load()
    assert again.meter.days == {day_of(NOON): pytest.approx(250 * 90 / 3.6e6)}


@pytest.mark.parametrize("text", ["", "[1, 2]", '{"2026-01-01": "much"}', "\x00"])
def test_a_damaged_file_is_begun_anew(tmp_path: Path, text: str, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "energy.json").write_text(text)
    machine = Machine(tmp_path / "energy.json")
    with caplog.at_level(logging.WARNING):
        machine.meter.load()
    assert machine.meter.days == {}
    assert "what is known of energy is lost" in caplog.text


def test_a_disk_that_takes_nothing_costs_the_figures_only(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    machine = Machine(tmp_path / "gone" / "energy.json")
    machine.meter.sample(3600.0)
    with caplog.at_level(logging.WARNING):
        machine.meter.save()
    assert "was not kept" in caplog.text
    assert machine.meter.days
