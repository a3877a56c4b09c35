"""What a run lost and how it went on: for its log, its dashboard and its score card."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

KEPT = 200
WORDS = {
    "replica": "another replica took over",
    "checkpoint": "the stages were planned anew",
    "term": "another term began",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """A run went on after a loss."""

    rung: str
    """``replica``: another one of the stage took over. ``checkpoint``: those left, and spares, went on from the newest.
    ``term``: the same, with peers that were asked anew."""
    reason: str
    step: int
    """The step that all went on from."""
    again: int
    """Steps that had been committed, and were computed once more."""
    seconds: float
    """From when the loss was noticed until all trained again."""

    @property
    def words(self) -> str:
        """For the run's log."""
        how = WORDS[self.rung]
        done = f", {self.again} committed steps are done again" if self.again else ""
        return f"{how}: training goes on from step {self.step} after {self.seconds:.1f} s{done}"


@dataclass(slots=True)
class Recoveries:
    """Those of one run. Times are Unix times."""

    all: deque[Recovery] = field(default_factory=lambda: deque[Recovery](maxlen=KEPT))
    count: int = 0
    _open: tuple[str, int, float] | None = None
    """Why, the step that had been reached, and when it was noticed."""

    def lost(self, reason: str, step: int, now: float) -> bool:
        """Something was lost; whether that is news. What follows before the run goes on is part of it."""
        news = self._open is None
        self._open = self._open or (reason, step, now)
        return news

    def went_on(self, rung: str, step: int, now: float) -> Recovery | None:
        """All train again, from this step; None if nothing had been lost."""
        if self._open is None:
            return None
        (reason, reached, since), self._open = self._open, None
        recovery = Recovery(rung=rung, reason=reason, step=step, again=max(0, reached - step), seconds=now - since)
        self.all.append(recovery)
        self.count += 1
        return recovery
