"""What the work here draws from the wall: power over time, by day, kept across restarts."""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio

SAMPLE_SECONDS = 10.0
DAYS_KEPT = 400
_SAVE_EVERY = 6
"""Samples between two writes of the file."""
_JOULES = 3.6e6
"""In a kilowatt-hour."""

MEASURED, SETTING = "measured", "setting"

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class EnergyMeter:
    """Adds up kilowatt-hours while a stage runs here.

    The device's own figure counts whole: nothing says which part of it the stage took.
    """

    path: Path
    working: Callable[[], bool]
    power: Callable[[], float | None]
    """Watts as the device tells them; None where it does not."""
    usual: float
    """Watts by the owner's word, for a device that tells none; 0: not known."""
    clock: Callable[[], float] = time.time
    days: dict[str, float] = field(default_factory=dict[str, float])
    """Kilowatt-hours by local date."""
    source: str = ""
    """Of the newest sample: MEASURED, SETTING or nothing."""

    def load(self) -> None:
        """Read what was kept; a file that cannot be read is begun anew."""
        try:
            kept = json.loads(self.path.read_text(encoding="utf-8"))
            self.days = {str(day): float(kwh) for day, kwh in kept.items()}
        except FileNotFoundError:
            return
        except (OSError, ValueError, AttributeError, TypeError) as error:
            _logger.warning("what is known of energy is lost: %s", error)

    def sample(self, seconds: float) -> None:
        """The power now, taken to have held for the last ``seconds``."""
        watts = self.power()
        self.source = MEASURED if watts is not None else SETTING if self.usual > 0 else ""
        if self.source and self.working():
            today = day_of(self.clock())
            self.days[today] = (
                self.days.get(today, 0.0) + (watts if watts is not None else self.usual) * seconds / _JOULES
            )
            for old in sorted(self.days)[:-DAYS_KEPT]:
                del self.days[old]

    def save(self) -> None:
        """Write the file, whole or not at all; a full disk costs the figures, not the node."""
        beside = self.path.with_suffix(".new")
        try:
            beside.write_text(json.dumps(self.days), encoding="utf-8")
            os.replace(beside, self.path)
        except OSError as error:
            _logger.warning("what is known of energy was not kept: %s", error)

    async def run(self) -> None:
        """Sample until cancelled."""
        self.load()
        try:
            while True:
                for _ in range(_SAVE_EVERY):
                    await trio.sleep(SAMPLE_SECONDS)
                    self.sample(SAMPLE_SECONDS)
                self.save()
        finally:
            self.save()


def day_of(unix: float) -> str:
    """The local date of a Unix time, as 2026-11-22."""
    return time.strftime("%Y-%m-%d", time.localtime(unix))
