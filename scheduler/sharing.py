"""Who may send or receive next under a rate that many links share.

A token bucket gives the rate, start-time fair queueing the order (Goyal, Vin, Cheng 1996), first among ranks and
then among the links of a rank: whoever has had least goes first. What is urgent counts for less, so it
overtakes bulk that waits and bulk still moves: its share is at least a twenty-fifth. A part of the bucket
is kept from bulk, so that what is urgent finds room beside it as it would alone.
Time is passed in, in seconds of a clock that only moves forward.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum


class Rank(IntEnum):
    """What bytes are for, the most urgent first."""

    GRADIENT = 0
    """Also acknowledgements: somebody's memory waits for them."""
    ACTIVATION = 1
    BULK = 2
    """Weights, checkpoints, shards."""


WEIGHTS = {Rank.GRADIENT: 16.0, Rank.ACTIVATION: 8.0, Rank.BULK: 1.0}
BURST_SECONDS = 0.05
"""Unused time that is kept."""
_ROUNDING = 1e-3
"""Bytes."""


@dataclass(slots=True, eq=False)
class Lane:
    """One link's account with a rate: where its next request of each rank starts, in virtual bytes."""

    finish: dict[Rank, float] = field(default_factory=lambda: dict.fromkeys(Rank, 0.0))


@dataclass(slots=True, eq=False)
class Request:
    """Bytes that wait for their turn."""

    rank: Rank
    count: int
    start: float
    granted: bool = field(default=False, init=False)


@dataclass(slots=True)
class _Class:
    """The requests of one rank, and how much all of them have had, in virtual bytes."""

    waiting: list[Request] = field(default_factory=list[Request])
    virtual: float = 0.0
    finish: float = 0.0


class SharedRate:
    """A rate in bytes a second, and the requests that wait for it."""

    def __init__(self, bytes_per_second: float, now: float) -> None:
        """Raises ValueError for a rate not over zero."""
        if not bytes_per_second > 0:
            raise ValueError("a rate is over zero")
        self.bytes_per_second = bytes_per_second
        self._burst = bytes_per_second * BURST_SECONDS
        self._tokens, self._counted = self._burst, now
        self._virtual = 0.0
        self._classes = {rank: _Class() for rank in Rank}

    def ask(self, lane: Lane, rank: Rank, count: int) -> Request:
        """Queue a request of ``count`` bytes; ``grant`` says when it may go."""
        request = Request(rank, count, max(self._classes[rank].virtual, lane.finish[rank]))
        lane.finish[rank] = request.start + count
        self._classes[rank].waiting.append(request)
        return request

    def withdraw(self, request: Request) -> None:
        """Forget a request that still waits."""
        if not request.granted:
            self._classes[request.rank].waiting.remove(request)

    def grant(self, now: float) -> float | None:
        """Mark every request that may go by now; the seconds until the next may, None when none waits."""
        self._tokens = min(self._burst, self._tokens + (now - self._counted) * self.bytes_per_second)
        self._counted = now
        while ranks := [rank for rank in Rank if self._classes[rank].waiting]:
            missing = self._floor(ranks) - self._tokens
            if missing > _ROUNDING:
                return missing / self.bytes_per_second
            self._take(min(ranks, key=self._start))
        return None

    def _floor(self, ranks: list[Rank]) -> float:
        """Tokens that must be there; where bulk waits beside others for its share, none need to be spare."""
        return self._burst / 2 if ranks == [Rank.BULK] else 0.0

    def _start(self, rank: Rank) -> float:
        return max(self._virtual, self._classes[rank].finish)

    def _take(self, rank: Rank) -> None:
        its = self._classes[rank]
        request = min(its.waiting, key=lambda each: each.start)
        its.waiting.remove(request)
        self._virtual = self._start(rank)
        its.virtual, its.finish = request.start, self._virtual + request.count / WEIGHTS[rank]
        self._tokens -= request.count
        request.granted = True
