"""When a silent peer is lost: after a few times the longest wait for it that was normal lately.

On a good link that is soon. A peer whose words have come late before is given more time (an accrual detector in the
spirit of Hayashibara et al. 2004, reduced to the longest recent wait).
"""

from __future__ import annotations

from dataclasses import dataclass

PATIENCE = 4.0
"""Times the longest recent wait."""
HALF_LIFE_SECONDS = 30.0
"""A long wait counts half as much after this time."""


@dataclass(frozen=True, slots=True)
class Pulse:
    """When a peer was last heard, and how long it let us wait. Times are seconds of one clock."""

    last: float
    longest: float = 0.0
    """The longest recent wait, as it counts at ``last``."""

    def heard(self, now: float) -> Pulse:
        """It gave a sign of life."""
        wait = max(0.0, now - self.last)
        return Pulse(now, max(wait, self.longest * 0.5 ** (wait / HALF_LIFE_SECONDS)))

    def excused(self, seconds: float) -> Pulse:
        """So long we did not listen."""
        return Pulse(self.last + seconds, self.longest)

    def silent(self, now: float, least: float, most: float) -> bool:
        """Whether it has been silent for too long: for longer than ``least``, and at the latest than ``most``."""
        return now - self.last > min(most, max(least, PATIENCE * self.longest))
