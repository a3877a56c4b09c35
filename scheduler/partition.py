"""Which peer holds which layers: the split whose slowest stage is fastest.

A stage is one peer and a contiguous range of at least one group of layers, within its memory. A group is what lies
between two places where the job may be cut: one layer, or more with a lossy wire. A stage's time per
micro-batch is the larger of computing and sending; the slowest stage's time is the pipeline's period.

The groups of a model are all alike, so at a given period T a peer is described by four numbers: the most
groups it can take as the only, the first, a middle or the last stage (the last group may be shorter, and is
always the last stage's). Whether T can be met is then a
question about sums, whatever the order of the middle stages, and ``swarmd.scheduler.team`` answers it
exactly. The best period is the time of some stage, one of finitely many: a binary search over
those finds it (parametric search). All comparisons are between values of one function,
``WorkerProfile.seconds``, so no tolerance is needed, and every node computes the same plan.

Among the plans of the best period the one with fewest stages is taken; what its peers could take beyond
the model's groups is cut away where the time is longest.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from swarmd.protocols.ids import PeerId
from swarmd.scheduler import explain
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile
from swarmd.scheduler.team import Offer, Role, best_teams


@dataclass(frozen=True, slots=True)
class StagePlan:
    """A peer and its layers, ``first`` to ``end - 1``."""

    peer: PeerId
    first: int
    end: int
    seconds: float
    """Per micro-batch, forward and backward."""
    reason: str


@dataclass(frozen=True, slots=True)
class Partition:
    """A whole pipeline, in order. ``reason`` also says why peers were left out."""

    stages: tuple[StagePlan, ...]
    bottleneck_seconds: float
    reason: str

    @property
    def ranges(self) -> tuple[tuple[PeerId, int, int], ...]:
        """Each stage's peer, first layer and end."""
        return tuple((stage.peer, stage.first, stage.end) for stage in self.stages)


def partition(
    workers: Sequence[WorkerProfile],
    model: ModelProfile,
    *,
    min_stages: int = 1,
    max_stages: int | None = None,
    numerics: str | None = None,
) -> Partition:
    """The fastest pipeline of ``min_stages`` to ``max_stages`` of these peers.

    With ``numerics``, only peers of that class count. The order of ``workers`` does not matter.

    Raises:
        RunFailed: there is none; the message says what is short, with how much is needed and there.
    """
    usable = sorted((w for w in workers if numerics in (None, w.numerics)), key=lambda worker: worker.peer)
    search = search_among(usable, model, min_stages=min_stages, max_stages=max_stages)
    team = search.fastest()
    if team is None:
        raise explain.does_not_fit(search.workers, model, search.layers_that_fit(), search.least, search.most)
    told = explained(search, _trimmed(search, team), search.why_left_out)
    unlike = [explain.why_unlike(worker) for worker in workers if worker not in usable]
    return replace(told, reason="; ".join((told.reason, *unlike)))


def search_among(
    workers: Sequence[WorkerProfile], model: ModelProfile, *, min_stages: int, max_stages: int | None
) -> Search:
    """The planning problem of these peers. Raises RunFailed when they cannot be so many stages."""
    most = min(len(workers), model.groups, max_stages or model.groups)
    least = max(1, min_stages)
    if least > most:
        raise explain.too_few(len(workers), model, least, max_stages)
    return Search(list(workers), model, least, most)


class Search:
    """One planning problem: each peer's time by place and number of groups, as far as its memory goes."""

    def __init__(self, workers: list[WorkerProfile], model: ModelProfile, least: int, most: int) -> None:
        self.workers = workers
        self.model = model
        self.least = least
        self.most = most
        self._times = [{place: self._time_table(worker, place) for place in Place} for worker in workers]

    def fastest(self) -> tuple[Role, ...] | None:
        """The team of fewest stages that meets the best period; None when no period helps."""
        periods = self.periods()
        low, high = 0, len(periods) - 1
        if not periods or self._team(periods[high]) is None:
            return None
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if self._team(periods[middle]) else (middle + 1, high)
        return self._team(periods[low])

    def periods(self) -> list[float]:
        """Every time that a stage can take, rising; the best period is one of them."""
        return sorted({time for table in self._times for times in table.values() for time in times})

    def seconds(self, share: Share) -> float:
        """The time of one stage."""
        return share.worker.seconds(self.model, self.layers(share), share.place)

    def layers(self, share: Share | Role) -> int:
        """How many layers its groups are."""
        return self.model.layers_of(share.groups, share.place)

    def why_left_out(self, worker: WorkerProfile, period: float) -> str:
        """Why a plan of this period is without a peer."""
        return explain.why_left_out(worker, self.model, period, self.least, self.most)

    def layers_that_fit(self) -> int:
        """The most layers that any allowed team's memory holds."""
        teams = best_teams(self.offers(float("inf")), self.most)
        sums = {stages: sum(self.layers(role) for role in team) for stages, team in teams.items()}
        return max((layers for stages, layers in sums.items() if stages >= self.least), default=0)

    def _team(self, period: float) -> tuple[Role, ...] | None:
        teams = best_teams(self.offers(period), self.most)
        enough = (s for s in range(self.least, self.most + 1) if s in teams and self._covers(teams[s]))
        return next((teams[stages] for stages in enough), None)

    def _covers(self, team: tuple[Role, ...]) -> bool:
        return sum(role.groups for role in team) >= self.model.groups

    def offers(self, period: float) -> list[Offer]:
        """What each peer can take within a period."""
        return [Offer({place: bisect_right(times, period) for place, times in table.items()}) for table in self._times]

    def _time_table(self, worker: WorkerProfile, place: Place) -> list[float]:
        most = worker.fitting_groups(self.model, place)
        return [worker.seconds(self.model, self.model.layers_of(n, place), place) for n in range(1, most + 1)]


@dataclass(frozen=True, slots=True)
class Share:
    """One stage: a peer, its place, and how many groups of layers it holds."""

    worker: WorkerProfile
    place: Place
    groups: int


def _trimmed(search: Search, team: tuple[Role, ...]) -> list[Share]:
    """Exactly the model's groups: the surplus is cut away where the time is longest."""
    shares = [Share(search.workers[role.worker], role.place, role.groups) for role in team]
    for _ in range(sum(share.groups for share in shares) - search.model.groups):
        longest = max(
            (i for i, share in enumerate(shares) if share.groups > 1), key=lambda i: search.seconds(shares[i])
        )
        shares[longest] = replace(shares[longest], groups=shares[longest].groups - 1)
    return shares


def explained(
    search: Search, shares: Sequence[Share], why_left_out: Callable[[WorkerProfile, float], str]
) -> Partition:
    """The pipeline of these stages, in order, with a reason for each peer."""
    period = max(search.seconds(share) for share in shares)
    stages: list[StagePlan] = []
    end = 0
    for share in shares:
        first, end = end, end + search.layers(share)
        time = search.seconds(share)
        why = explain.why_here(
            share.worker, first, end, time, share.worker.uplink_seconds(search.model, share.place), period
        )
        stages.append(StagePlan(share.worker.peer, first, end, time, why))
    chosen = {stage.peer for stage in stages}
    left = [why_left_out(worker, period) for worker in search.workers if worker.peer not in chosen]
    summary = f"{len(stages)} stages, one micro-batch every {explain.milliseconds(period)}"
    told = [summary, *(stage.reason for stage in stages), *left]
    return Partition(tuple(stages), period, "; ".join(told))
