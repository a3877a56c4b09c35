"""Which peers hold which of a list of stages, when a stage may have several: machine covering.

The aim is the largest rate of the slowest stage, a stage's rate being the sum of its replicas'. Longest processing
time first (Deuermeyer, Friesen and Langston, 1982): peers by falling speed, each to the stage that is slowest so far
of those it fits. Then moves and swaps into the slowest stage, as long as one helps; where there are too many pairs to
look at, a seeded sample of them. Everything counts against a budget of looks, not against a clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heappush
from random import Random
from typing import TypeAlias

from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile

Kind: TypeAlias = tuple[int, Place]
"""A stage as far as its cost goes: how many groups of layers, and where it stands."""

NOBODY = -1
MOST_PAIRS = 4096
_GAIN = 1 + 1e-9
"""What a move must give: less is rounding."""


class Rates:
    """Micro-batches a second of every peer for a kind of stage; 0 where its memory does not hold it."""

    def __init__(self, workers: Sequence[WorkerProfile], model: ModelProfile) -> None:
        self.workers, self.model = workers, model
        self._columns: dict[Kind, list[float]] = {}

    def of(self, kind: Kind) -> list[float]:
        """By peer."""
        if kind not in self._columns:
            self._columns[kind] = [self._rate(worker, *kind) for worker in self.workers]
        return self._columns[kind]

    def _rate(self, worker: WorkerProfile, groups: int, place: Place) -> float:
        layers = self.model.layers_of(groups, place)
        if self.model.memory(layers, place) > worker.memory_bytes:
            return 0.0
        return 1 / max(worker.seconds(self.model, layers, place), 1e-12)


@dataclass(slots=True)
class Budget:
    """How many more looks at a peer in a stage a search may take."""

    looks: int

    def take(self, looks: int) -> bool:
        """Spend some; whether there were any left."""
        self.looks -= looks
        return self.looks >= 0


@dataclass(slots=True)
class Cover:
    """Stages and who holds them."""

    kinds: tuple[Kind, ...]
    columns: list[list[float]]
    who: list[int]
    """The stage of each peer, or NOBODY."""
    rates: list[float] = field(default_factory=list[float])
    most: int | None = None
    """Peers that a stage may have; None: any number."""

    def full(self, stage: int) -> bool:
        """Whether a stage has all the peers that it may have."""
        return self.most is not None and self.who.count(stage) >= self.most

    @property
    def rate(self) -> float:
        """Of the slowest stage."""
        return min(self.rates)

    def members(self, stage: int) -> list[int]:
        """The peers of a stage."""
        return [peer for peer, at in enumerate(self.who) if at == stage]

    def put(self, peer: int, stage: int) -> None:
        """Move a peer to a stage, or to NOBODY."""
        if self.who[peer] != NOBODY:
            self.rates[self.who[peer]] -= self.columns[self.who[peer]][peer]
        self.who[peer] = stage
        if stage != NOBODY:
            self.rates[stage] += self.columns[stage][peer]


def longest_first(rates: Rates, kinds: tuple[Kind, ...], order: Sequence[int], most: int | None = None) -> Cover:
    """Peers in this order, each to the slowest stage it fits that has not ``most`` already."""
    columns = [rates.of(kind) for kind in kinds]
    cover = Cover(kinds, columns, [NOBODY] * len(rates.workers), [0.0] * len(kinds), most)
    slowest = [(0.0, stage) for stage in range(len(kinds))]
    heapify(slowest)
    for peer in order:
        passed: list[tuple[float, int]] = []
        while slowest:
            at, stage = heappop(slowest)
            if columns[stage][peer] > 0 and not cover.full(stage):
                cover.who[peer] = stage
                cover.rates[stage] = at = at + columns[stage][peer]
            passed.append((at, stage))
            if cover.who[peer] != NOBODY:
                break
        for each in passed:
            heappush(slowest, each)
    return cover


def improve(cover: Cover, random: Random, budget: Budget) -> Cover:
    """Move and swap peers into the slowest stage while that makes it faster and no other as slow as it was."""
    while found := _best_change(cover, random, budget):
        peer, against, weakest = found
        home = cover.who[peer]
        cover.put(peer, weakest)
        if against != NOBODY:
            cover.put(against, home)
    return cover


def _best_change(cover: Cover, random: Random, budget: Budget) -> tuple[int, int, int] | None:
    """The peer to move into the weakest stage, the one to take its place or NOBODY, and that stage."""
    weakest = min(range(len(cover.kinds)), key=cover.rates.__getitem__)
    here, there = cover.columns[weakest], cover.rates
    able = [peer for peer, at in enumerate(cover.who) if at != weakest and here[peer] > 0]
    pairs = _pairs(able, cover.members(weakest), random, room=not cover.full(weakest))
    if not budget.take(len(able) + len(pairs)):
        return None
    best, found = there[weakest] * _GAIN, None
    for peer, against in pairs:
        at = cover.who[peer]
        gain = there[weakest] + here[peer]
        left = there[at] - cover.columns[at][peer] if at != NOBODY else gain
        if against != NOBODY:
            gain -= here[against]
            left += cover.columns[at][against] if at != NOBODY else 0.0
        reached = min(gain, left)
        if reached > best:
            best, found = reached, (peer, against, weakest)
    return found


def _pairs(able: list[int], members: list[int], random: Random, *, room: bool) -> list[tuple[int, int]]:
    others = [NOBODY, *members] if room else members
    if len(able) * len(others) <= MOST_PAIRS:
        return [(peer, against) for peer in able for against in others]
    moves = [(peer, NOBODY) for peer in able] if room else []
    return moves + [(able[below(random, len(able))], others[below(random, len(others))]) for _ in range(MOST_PAIRS)]


def below(random: Random, limit: int) -> int:
    """A number below ``limit``, by the one method whose sequence is the same in every version of Python."""
    return int(random.random() * limit)


def trim(cover: Cover) -> Cover:
    """Leave out the slowest peers that a stage does not need to be as fast as the slowest one."""
    enough = cover.rate
    for stage, column in enumerate(cover.columns):
        for peer in sorted(cover.members(stage), key=lambda each: (column[each], each)):
            if cover.rates[stage] - column[peer] >= enough:
                cover.put(peer, NOBODY)
    return cover
