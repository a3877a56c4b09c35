"""Which peers hold which layers where a stage may have several: the fastest slowest stage that a search finds.

A replica's rate is one micro-batch in the larger of computing and sending; a stage's rate is the sum of its replicas'.
For each number of stages the layers are cut by equal work and covered (``swarmd.scheduler.cover``); the best few are
then improved, and their cuts shifted one layer at a time, a worse one being kept now and then as in annealing. The
search is bounded by a number of looks and led by a seed, never by a clock: equal inputs give equal plans, whatever the
order in which the peers are named.

The exact chain of ``partition`` is the plan wherever replicas make nothing faster. A peer that makes nothing faster is
left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import nsmallest
from math import exp
from random import Random

from swarmd.protocols.ids import PeerId
from swarmd.scheduler import explain
from swarmd.scheduler.cover import NOBODY, Budget, Cover, Kind, Rates, below, improve, longest_first, trim
from swarmd.scheduler.nearness import RoundTrip, nearest_order
from swarmd.scheduler.partition import partition
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile

LOOKS = 400_000
"""About half a second."""
FEW = 6
"""Numbers of stages that are searched in depth."""
MAX_PEERS = 4096
WARMTH = 0.1
"""Of the best rate: how much worse is kept at first."""


@dataclass(frozen=True, slots=True)
class ReplicaStage:
    """Layers ``first`` to ``end - 1`` and the peers that hold them."""

    peers: tuple[PeerId, ...]
    first: int
    end: int
    rate: float
    """Micro-batches a second, of all together."""
    reason: str


@dataclass(frozen=True, slots=True)
class ReplicaPlan:
    """A whole pipeline, in order."""

    stages: tuple[ReplicaStage, ...]
    rate: float
    """Of the slowest stage."""
    at_most: float
    """No plan of these peers is faster than this."""
    summary: str
    left_out: tuple[str, ...]
    """Why peers have no part, one line each."""


def plan_replicas(
    workers: Sequence[WorkerProfile],
    model: ModelProfile,
    *,
    min_stages: int = 1,
    max_stages: int | None = None,
    most: int | None = None,
    round_trip: RoundTrip | None = None,
    seed: int = 0,
    looks: int = LOOKS,
) -> ReplicaPlan:
    """The fastest pipeline found of ``min_stages`` to ``max_stages`` stages; middle stages in the order of least delay.

    ``most``: peers that a stage may have.

    Raises:
        RunFailed: no split fits the peers' memory, or there are fewer peers or layers than stages asked for.
        ValueError: over 4096 peers.
    """
    if len(workers) > MAX_PEERS:
        raise ValueError(f"{len(workers)} peers: at most {MAX_PEERS} are planned at once")
    usable = sorted(workers, key=lambda worker: worker.peer)
    search = _Search(usable, model, Random(seed), Budget(looks), most)
    found = search.best(max(1, min_stages), min(len(usable), model.groups, max_stages or model.groups))
    chain = _chain(search, min_stages, max_stages)
    if found is None or chain.rate >= found.rate:
        found = chain
    return _explained(search, _in_order(search, trim(found), round_trip))


def upper_bound(workers: Sequence[WorkerProfile], model: ModelProfile) -> float:
    """Micro-batches a second that no plan exceeds: every peer at the work it does best, and none is ever short of it.

    Work is counted in layers; embedding and head count as layers by the peers' mean, which is valid for any weight.
    """
    embed, head = _end_weights(workers)
    rates, total = 0.0, model.layers + embed + head
    for worker in workers:
        best = 0.0
        for place in Place:
            # More layers at once are never less work a second, so only the most that fit count.
            groups = worker.fitting_groups(model, place)
            if groups:
                layers = model.layers_of(groups, place)
                work = layers + place.embeds * embed + place.heads * head
                best = max(best, work / max(worker.seconds(model, layers, place), 1e-12))
        rates += best
    return rates / total


class _Search:
    def __init__(
        self, workers: Sequence[WorkerProfile], model: ModelProfile, random: Random, budget: Budget, most: int | None
    ) -> None:
        self.workers, self.model, self.random, self.budget, self.most = workers, model, random, budget, most
        self.rates = Rates(workers, model)
        self.embed, self.head = _end_weights(workers)
        speed = [upper_bound([worker], model) for worker in workers]
        self.order = sorted(range(len(workers)), key=lambda peer: (-speed[peer], peer))

    def best(self, least: int, most: int) -> Cover | None:
        """The fastest cover found, of fewest stages among equals; None if none covers all stages."""
        starts = [
            longest_first(self.rates, _kinds(self._equal_cuts(stages)), self.order, self.most)
            for stages in range(least, most + 1)
        ]
        able = nsmallest(FEW, starts, key=lambda cover: (-cover.rate, len(cover.kinds)))
        share = self.budget.looks // max(1, len(able))
        deep = [self._anneal(cover, Budget(share)) for cover in able]
        found = min(deep, key=lambda cover: (-cover.rate, len(cover.kinds)), default=None)
        return found if found is not None and found.rate > 0 else None

    def _equal_cuts(self, stages: int) -> list[int]:
        """Groups of layers of each stage, by equal work; at least one each."""
        embed, last = self.embed / self.model.group, self.model.groups
        each = (last + embed + self.head / self.model.group) / stages
        ends = [each * (stage + 1) - embed for stage in range(stages - 1)]
        cuts = [0]
        for number, end in enumerate(ends, 1):
            cuts.append(min(max(round(end), cuts[-1] + 1), last - (stages - number)))
        return [b - a for a, b in zip(cuts, [*cuts[1:], last], strict=True)]

    def _anneal(self, cover: Cover, budget: Budget) -> Cover:
        """Shift a group, or let two peers choose in each other's place; worse is kept with falling probability."""
        now = best = improve(cover, self.random, budget)
        turns, all_looks = self.order, max(1, budget.looks)
        while len(now.kinds) > 1 and budget.take(4 * len(self.workers)):
            groups, order = [count for count, _ in now.kinds], list(turns)
            if not (self._shift(groups) if self.random.random() < 0.5 else self._swap(order)):
                continue
            tried = improve(longest_first(self.rates, _kinds(groups), order, self.most), self.random, budget)
            heat = WARMTH * max(best.rate, 1e-12) * max(0.01, budget.looks / all_looks)
            if tried.rate >= now.rate or self.random.random() < exp((tried.rate - now.rate) / heat):
                now, turns = tried, order
            if tried.rate > best.rate:
                best = tried
        return best

    def _shift(self, groups: list[int]) -> bool:
        """One group from a stage to another; whether there was one to give."""
        giver, taker = below(self.random, len(groups)), below(self.random, len(groups))
        if giver == taker or groups[giver] == 1:
            return False
        groups[giver] -= 1
        groups[taker] += 1
        return True

    def _swap(self, order: list[int]) -> bool:
        a, b = below(self.random, len(order)), below(self.random, len(order))
        order[a], order[b] = order[b], order[a]
        return a != b


def _kinds(groups: Sequence[int]) -> tuple[Kind, ...]:
    if len(groups) == 1:
        return ((groups[0], Place.ONLY),)
    middles = [(count, Place.MIDDLE) for count in groups[1:-1]]
    return ((groups[0], Place.FIRST), *middles, (groups[-1], Place.LAST))


def _end_weights(workers: Sequence[WorkerProfile]) -> tuple[float, float]:
    """Embedding and head, as so many layers."""
    layer = sum(worker.seconds_per_layer for worker in workers)
    if not layer:
        return 0.0, 0.0
    return (
        sum(worker.seconds_embed for worker in workers) / layer,
        sum(worker.seconds_head for worker in workers) / layer,
    )


def _chain(search: _Search, min_stages: int, max_stages: int | None) -> Cover:
    """The exact plan without replicas. Raises RunFailed if there is none, and then there is none with them either."""
    plan = partition(search.workers, search.model, min_stages=min_stages, max_stages=max_stages)
    numbers = {worker.peer: number for number, worker in enumerate(search.workers)}
    group = search.model.group
    kinds = _kinds([-(-(stage.end - stage.first) // group) for stage in plan.stages])
    columns = [search.rates.of(kind) for kind in kinds]
    cover = Cover(kinds, columns, [NOBODY] * len(numbers), [0.0] * len(kinds))
    for stage, chosen in enumerate(plan.stages):
        cover.put(numbers[chosen.peer], stage)
    return cover


def _in_order(search: _Search, cover: Cover, round_trip: RoundTrip | None) -> list[tuple[Kind, list[int]]]:
    stages = [(kind, cover.members(stage)) for stage, kind in enumerate(cover.kinds)]
    if round_trip is None:
        return stages
    groups = [[search.workers[peer].peer for peer in peers] for _, peers in stages]
    return [stages[stage] for stage in nearest_order(groups, round_trip)]


def _explained(search: _Search, stages: list[tuple[Kind, list[int]]]) -> ReplicaPlan:
    sums = [sum(search.rates.of(kind)[peer] for peer in peers) for kind, peers in stages]
    rate = min(sums)
    made: list[ReplicaStage] = []
    end = 0
    for (kind, peers), total in zip(stages, sums, strict=True):
        first, end = end, end + search.model.layers_of(*kind)
        told = [_share(search, kind, peer, total) for peer in peers]
        reason = explain.why_these(first, end, told, total, slowest=total == rate)
        made.append(ReplicaStage(tuple(search.workers[peer].peer for peer in peers), first, end, total, reason))
    most, held = upper_bound(search.workers, search.model), {peer for _, peers in stages for peer in peers}
    idle = [worker for number, worker in enumerate(search.workers) if number not in held]
    left = tuple(explain.why_idle(worker, search.model) for worker in idle)
    summary = (
        f"{len(made)} stages of {len(held)} peers, {rate:.3g} micro-batches a second, "
        f"{min(1.0, rate / most):.0%} of what these peers could do at most"
    )
    return ReplicaPlan(tuple(made), rate, most, summary, left)


def _share(search: _Search, kind: Kind, peer: int, total: float) -> str:
    worker, layers, place = search.workers[peer], search.model.layers_of(*kind), kind[1]
    time, uplink = worker.seconds(search.model, layers, place), worker.uplink_seconds(search.model, place)
    return explain.share_of(worker, search.rates.of(kind)[peer] / total, time, by_uplink=uplink == time > 0)
