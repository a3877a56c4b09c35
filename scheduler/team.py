"""Which peers to take as first, middle and last stages, so that together they take the most groups of layers.

Each peer offers a number of groups for each place. For every number of stages the best team is found by
dynamic programming over the peers, with what is already filled as the state: how many stages, and
whether they have a first and a last. Exact, because groups are alike and so only sums count: a last group that is
shorter than the others always belongs to the last stage, whose offers are made with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from swarmd.scheduler.profiles import Place


@dataclass(frozen=True, slots=True)
class Offer:
    """The most groups one peer can take, by place; 0: it cannot stand there."""

    groups: Mapping[Place, int]


@dataclass(frozen=True, slots=True)
class Role:
    """One peer's part in a team: its number in the offers, its place, and the groups it offered for it."""

    worker: int
    place: Place
    groups: int


_State: TypeAlias = tuple[int, bool, bool]
_Best: TypeAlias = dict[_State, tuple[int, tuple[Role, ...]]]

_ALONE: _State = (1, True, True)
_ORDER = {Place.ONLY: 0, Place.FIRST: 0, Place.MIDDLE: 1, Place.LAST: 2}


def best_teams(offers: Sequence[Offer], most: int) -> dict[int, tuple[Role, ...]]:
    """For each number of stages up to ``most``, the team that takes the most groups, in pipeline order."""
    best: _Best = {(0, False, False): (0, ())}
    for worker in _useful(offers, most):
        for state, (total, team) in tuple(best.items()):
            for role, reached in _moves(state, worker, offers[worker]):
                if reached[0] <= most and total + role.groups > best.get(reached, (-1, ()))[0]:
                    best[reached] = (total + role.groups, (*team, role))
    return {
        stages: tuple(sorted(team, key=lambda role: (_ORDER[role.place], role.worker)))
        for (stages, first, last), (_, team) in best.items()
        if first and last
    }


def _moves(state: _State, worker: int, offer: Offer) -> Iterator[tuple[Role, _State]]:
    if state == _ALONE:
        return
    stages, first, last = state
    if not stages and offer.groups[Place.ONLY]:
        yield Role(worker, Place.ONLY, offer.groups[Place.ONLY]), _ALONE
    if not first and offer.groups[Place.FIRST]:
        yield Role(worker, Place.FIRST, offer.groups[Place.FIRST]), (stages + 1, True, last)
    if not last and offer.groups[Place.LAST]:
        yield Role(worker, Place.LAST, offer.groups[Place.LAST]), (stages + 1, first, True)
    if offer.groups[Place.MIDDLE]:
        yield Role(worker, Place.MIDDLE, offer.groups[Place.MIDDLE]), (stages + 1, first, last)


def _useful(offers: Sequence[Offer], most: int) -> list[int]:
    """Peers that can be in a best team: the ``most`` best middles, and the two best ends beyond them."""

    def ranked(place: Place, among: list[int]) -> list[int]:
        return sorted(among, key=lambda worker: (-offers[worker].groups[place], worker))

    middles = ranked(Place.MIDDLE, list(range(len(offers))))
    useful, others = set(middles[:most]), middles[most:]
    useful.update(*(ranked(place, others)[:2] for place in (Place.ONLY, Place.FIRST, Place.LAST)))
    return sorted(useful)
