"""The fastest pipeline that a budget pays for.

The plan that is fastest whatever it costs is taken if it can be afforded. Else the smallest period is searched
that some affordable plan meets. Within a period, prices are tried as the line between peers that take what they can
and dearer ones, which take one group of layers at most. What a team could take beyond the model's layers is cut
away where it is dearest, and the output matrix goes to a cheaper member if one can take it. That is a bounded search
and not an exact one: a plan that it finds is affordable, and one cheaper than the cheapest that it finds may exist.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from swarmd.scheduler import explain
from swarmd.scheduler.partition import Partition, Search, Share, explained, partition, search_among
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile
from swarmd.scheduler.purse import Purse
from swarmd.scheduler.team import Offer, Role, best_teams

MAX_LINES = 8
"""Prices that are tried as the line, of those that are asked."""


@dataclass(frozen=True, slots=True)
class Priced:
    """A plan and what it would cost, in micro-credits."""

    plan: Partition
    cost: int


@dataclass(frozen=True, slots=True)
class Offers:
    """What was found: the plan to take is None if the cheapest one is over the budget."""

    chosen: Priced | None
    fastest: Priced
    cheapest: Priced


def plan_within(
    workers: Sequence[WorkerProfile],
    model: ModelProfile,
    purse: Purse,
    *,
    min_stages: int = 1,
    max_stages: int | None = None,
) -> Partition:
    """The fastest pipeline found that the purse pays for. The order of ``workers`` does not matter.

    Raises:
        RunFailed: there is no pipeline at any price.
        Refused: none that was found can be afforded; says which budget is enough.
    """
    found = plans(workers, model, purse, min_stages=min_stages, max_stages=max_stages)
    if found.chosen is None:
        raise purse.too_small(found.cheapest.cost)
    return found.chosen.plan


def plans(
    workers: Sequence[WorkerProfile],
    model: ModelProfile,
    purse: Purse,
    *,
    min_stages: int = 1,
    max_stages: int | None = None,
) -> Offers:
    """The plan to take, the fastest, and the cheapest found. Raises RunFailed when there is none at any price."""
    plan = partition(workers, model, min_stages=min_stages, max_stages=max_stages)
    fastest = Priced(plan, purse.cost(plan.ranges))
    by_price = sorted(workers, key=lambda worker: (purse.price(worker.peer), worker.peer))
    thrift = _Thrift(search_among(by_price, model, min_stages=min_stages, max_stages=max_stages), purse)
    periods = thrift.search.periods()
    cheapest = min((fastest, *thrift.cheapest(periods[-1])), key=_cost)
    if fastest.cost <= purse.left:
        return Offers(fastest, fastest, cheapest)
    if cheapest.cost > purse.left:
        return Offers(None, fastest, cheapest)
    return Offers(thrift.fastest(periods) or cheapest, fastest, cheapest)


class _Thrift:
    """One planning problem within a purse; its peers are sorted by price."""

    def __init__(self, search: Search, purse: Purse) -> None:
        self.search, self._purse = search, purse
        asked = sorted({purse.price(worker.peer) for worker in search.workers})
        last = len(asked) - 1
        self._lines = sorted({asked[at * last // (MAX_LINES - 1)] for at in range(MAX_LINES)})

    def fastest(self, periods: list[float]) -> Priced | None:
        """An affordable plan of the smallest period for which the search finds one."""
        best: Priced | None = None
        low, high = 0, len(periods) - 1
        while low <= high:
            middle = (low + high) // 2
            found = [priced for priced in self.cheapest(periods[middle]) if priced.cost <= self._purse.left]
            if found:
                best, high = found[0], middle - 1
            else:
                low = middle + 1
        return best

    def cheapest(self, period: float) -> list[Priced]:
        """The cheapest plan found that is no slower than this; empty if there is none."""
        shares = min(self._teams(period), key=self._cost, default=None)
        if shares is None:
            return []
        return [Priced(explained(self.search, shares, self._why_left_out), self._cost(shares))]

    def _teams(self, period: float) -> Iterator[list[Share]]:
        """For each line and number of stages one way to share the layers."""
        offers = self.search.offers(period)
        for line in self._lines:
            teams = best_teams([self._behind(line, at, offer) for at, offer in enumerate(offers)], self.search.most)
            for stages in range(self.search.least, self.search.most + 1):
                team = teams.get(stages, ())
                if self._covers(team):
                    yield self._trimmed(self._head_moved(team, offers))

    def _behind(self, line: int, worker: int, offer: Offer) -> Offer:
        if self._price(worker) <= line:
            return offer
        return Offer({place: min(1, groups) for place, groups in offer.groups.items()})

    def _head_moved(self, team: tuple[Role, ...], offers: list[Offer]) -> tuple[Role, ...]:
        """The cheapest member that can takes the last place, and who had it the one that is free."""
        last = team[-1]
        cheaper = [at for at, role in enumerate(team) if self._price(role.worker) < self._price(last.worker)]
        for at in sorted(cheaper, key=lambda at: (self._price(team[at].worker), at)):
            here = team[at]
            moved, freed = offers[here.worker].groups[last.place], offers[last.worker].groups[here.place]
            swapped = list(team)
            swapped[at] = Role(last.worker, here.place, min(freed, last.groups))
            swapped[-1] = Role(here.worker, last.place, moved)
            if moved and freed and self._covers(swapped):
                return tuple(swapped)
        return team

    def _covers(self, team: Sequence[Role]) -> bool:
        return sum(role.groups for role in team) >= self.search.model.groups

    def _cost(self, shares: Sequence[Share]) -> int:
        ends = [0, *accumulate(map(self.search.layers, shares))]
        return self._purse.cost(
            (share.worker.peer, first, end) for share, (first, end) in zip(shares, pairwise(ends), strict=True)
        )

    def _trimmed(self, team: tuple[Role, ...]) -> list[Share]:
        """One group each, and the rest where it is cheapest."""
        groups = [1] * len(team)
        rest = self.search.model.groups - len(team)
        for at in sorted(range(len(team)), key=lambda at: (self._price(team[at].worker), at)):
            more = min(rest, team[at].groups - 1)
            groups[at], rest = groups[at] + more, rest - more
        workers = self.search.workers
        return [Share(workers[role.worker], role.place, each) for role, each in zip(team, groups, strict=True)]

    def _price(self, worker: int) -> int:
        return self._purse.price(self.search.workers[worker].peer)

    def _why_left_out(self, worker: WorkerProfile, period: float) -> str:
        price = self._purse.price(worker.peer)
        return explain.why_spared(worker, price) if price else self.search.why_left_out(worker, period)


def _cost(priced: Priced) -> int:
    return priced.cost
