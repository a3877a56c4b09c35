"""Which replica of the next stage a micro-batch goes to, and the way its gradient comes back.

A sender keeps a virtual time for each replica: the service time of all it was given so far. The next micro-batch
goes where its own virtual finish is least, so each replica gets its share of the work by speed (stochastic
wiring of SWARM, Ryabinin et al., arXiv 2301.11913, with links counted: a service takes ``max(compute, uplink)``).

What is measured beforehand is never quite so. The live correction is a window: a replica that still owes that many
gradients gets nothing, whatever its virtual time, and when it has room again it starts beside the least loaded one
instead of getting at once all that it missed. A gradient counts only from the replica its forward went to.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heapify, heapreplace
from math import isfinite
from typing import TypeAlias

from swarmd.protocols.errors import ProtocolViolation

Item: TypeAlias = tuple[int, int]
"""Step and micro-batch."""

MAX_REPLICAS = 1024


@dataclass(slots=True)
class _Replica:
    service: float
    window: int
    virtual: float = 0.0
    owed: int = 0
    lost: bool = False

    @property
    def open(self) -> bool:
        return self.owed < self.window and not self.lost

    @property
    def finish(self) -> float:
        """Virtual time after one more micro-batch."""
        return self.virtual + self.service

    @property
    def ahead(self) -> float:
        """Seconds until it would be through with all it owes and one more, as far as this sender knows."""
        return (self.owed + 1) * self.service


class Router:
    """One sender's choice among the replicas of the stage after it, which are numbered from 0."""

    def __init__(self, service: Sequence[float], windows: Sequence[int]) -> None:
        """``service``: seconds per micro-batch of each replica; ``windows``: most gradients it may owe this sender.

        Raises ValueError for none, over 1024, or numbers that are not finite and above zero.
        """
        if not 0 < len(service) == len(windows) <= MAX_REPLICAS or min(windows) < 1:
            raise ValueError(f"a stage has 1 to {MAX_REPLICAS} replicas, each with a window of 1 or more")
        self._replicas = [_Replica(_checked(each), window) for each, window in zip(service, windows, strict=True)]
        self._path: dict[Item, int] = {}

    def choose(self, item: Item) -> int | None:
        """The replica for a micro-batch, which then owes its gradient; None while all windows are full.

        Raises ValueError for one that is on its way already.
        """
        if item in self._path:
            raise ValueError(f"micro-batch {item} is on its way already")
        chosen = self._best()
        if chosen is None:
            return None
        replica = self._replicas[chosen]
        replica.virtual += replica.service
        replica.owed += 1
        self._path[item] = chosen
        return chosen

    def returned(self, item: Item, replica: int) -> None:
        """A gradient came. Raises ProtocolViolation if its forward did not go to this replica, or was answered."""
        if self._path.get(item) != replica:
            raise ProtocolViolation(f"replica {replica} does not owe the gradient of micro-batch {item}")
        del self._path[item]
        found = self._replicas[replica]
        if not found.open:
            self._catch_up(found)
        found.owed -= 1

    def retime(self, replica: int, service: float) -> None:
        """A newer measurement of a replica's service time. Raises ValueError if it is not finite and above zero."""
        self._replicas[replica].service = _checked(service)

    def lost(self, replica: int) -> tuple[Item, ...]:
        """A replica is gone: it gets nothing more; what it owed, in order, to be chosen for anew."""
        owed = tuple(sorted(item for item, to in self._path.items() if to == replica))
        for item in owed:
            del self._path[item]
        self._replicas[replica].lost, self._replicas[replica].owed = True, 0
        return owed

    def _best(self) -> int | None:
        """The replica of least virtual finish; if its window is full, one that would be done before it, or none."""
        numbers = [number for number, replica in enumerate(self._replicas) if not replica.lost]
        first = min(numbers, key=lambda number: (self._replicas[number].finish, number), default=None)
        if first is None or self._replicas[first].open:
            return first
        soon = self._replicas[first].ahead
        sooner = [number for number in numbers if self._replicas[number].open and self._replicas[number].ahead < soon]
        return min(sooner, key=lambda number: (self._replicas[number].ahead, number), default=None)

    def _catch_up(self, replica: _Replica) -> None:
        least = min((other.virtual for other in self._replicas if other.open), default=replica.virtual)
        replica.virtual = max(replica.virtual, least)


def deal(service: Sequence[float], count: int) -> tuple[int, ...]:
    """Replicas of the first stage, to which nobody sends: whose each of ``count`` micro-batches is, by the plan alone.

    Each goes to the replica that would be through with it first, to the first of equals. Of whole numbers the answer is
    the same everywhere. Raises ValueError for a service time that is not finite and above zero.
    """
    through = [(_checked(each), number) for number, each in enumerate(service)]
    heapify(through)
    dealt: list[int] = []
    for _ in range(count):
        seconds, number = through[0]
        heapreplace(through, (seconds + service[number], number))
        dealt.append(number)
    return tuple(dealt)


class ReturnPaths:
    """Where each micro-batch at hand came from: its gradient goes back there, whatever is chosen meanwhile."""

    def __init__(self, limit: int) -> None:
        """``limit``: most micro-batches at hand. Raises ValueError below one."""
        if limit < 1:
            raise ValueError("a stage has at least one micro-batch at hand")
        self._limit = limit
        self._from: dict[Item, int] = {}

    def came(self, item: Item, sender: int) -> None:
        """A forward arrived. Raises ProtocolViolation for one that is here already, or one too many."""
        if item in self._from:
            raise ProtocolViolation(f"micro-batch {item} came twice")
        if len(self._from) >= self._limit:
            raise ProtocolViolation(f"over {self._limit} micro-batches are at hand")
        self._from[item] = sender

    def back(self, item: Item) -> int:
        """The sender to answer, once. Raises ProtocolViolation for what never came."""
        if item not in self._from:
            raise ProtocolViolation(f"micro-batch {item} came from nowhere")
        return self._from.pop(item)


def _checked(seconds: float) -> float:
    if not (isfinite(seconds) and seconds > 0):
        raise ValueError(f"a service time must be finite and above zero, not {seconds}")
    return seconds
