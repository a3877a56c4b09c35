"""Whether a run that lost a peer begins another term, and how soon.

A term begins from the newest checkpoint. One that ends without a newer one has gained nothing: after so many in a row
as the job's ``restarts`` allow, the run fails.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.errors import PeerLost, TimedOut
from swarmd.scheduler.runstate import Patience

RECOVERABLE = frozenset({PeerLost.code, TimedOut.code})
LONGEST_PAUSE_SECONDS = 30.0
PATIENCE_AGAIN = Patience(recruit_seconds=60.0, settle_seconds=60.0)
"""Of later terms: whoever was lost may be on its way back."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """How a term ended."""

    code: str
    planned: bool
    """It had found enough peers."""
    gained: bool
    """It left a newer checkpoint than it began from."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What the terms so far came to."""

    restarts: int
    """Terms in a row that may gain nothing before the run fails; 0: the first lost peer ends it."""
    number: int = 1
    barren: int = 0
    """Terms in a row that gained nothing."""

    def after(self, ending: Ending) -> Terms | None:
        """With one term more, which follows; None if none does."""
        barren = 0 if ending.gained else self.barren + 1
        found_nobody = not ending.planned and self.number > 1
        if barren > self.restarts or self.restarts == 0 or not (ending.code in RECOVERABLE or found_nobody):
            return None
        return Terms(self.restarts, self.number + 1, barren)

    @property
    def pause(self) -> float:
        """Seconds before this term: none at first, then longer with each that gained nothing."""
        return 0.0 if self.barren < 2 else min(LONGEST_PAUSE_SECONDS, 2.0 ** (self.barren - 2))
