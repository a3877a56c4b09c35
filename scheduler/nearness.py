"""In which order the middle stages stand, so that the sum of the delays between neighbours is small.

The first and the last stage stay where they are. Nearest neighbour, then reversals of parts (2-opt, Croes 1958) and
moves of short parts (or-opt, Or 1976) until none helps. The order never changes a pipeline's rate, only how much it
must hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import TypeAlias

from swarmd.protocols.ids import PeerId

RoundTrip: TypeAlias = Callable[[PeerId, PeerId], float]
"""Seconds that an empty message takes from one peer to another and back."""

MOST_ASKED = 4
"""Replicas of a stage whose round trips count: enough for a mean."""
MOST_SWEEPS = 8
LONGEST_PART = 3
FARTHEST = 16
"""Stages that one change may reach over."""


def nearest_order(groups: Sequence[Sequence[PeerId]], round_trip: RoundTrip) -> list[int]:
    """The numbers of the groups in an order of small delays; first and last keep their places."""
    if len(groups) < 4:
        return list(range(len(groups)))
    asked = [_some(group) for group in groups]
    table = [[_mean_between(a, b, round_trip) for b in asked] for a in asked]
    order, sweeps = _nearest_neighbours(table), MOST_SWEEPS
    while sweeps and (better := _better(order, table)):
        order, sweeps = better, sweeps - 1
    return order


def length(order: Sequence[int], table: Sequence[Sequence[float]]) -> float:
    """The sum of delays along an order."""
    return sum(table[a][b] for a, b in pairwise(order))


def _some(group: Sequence[PeerId]) -> list[PeerId]:
    step = max(1, len(group) // MOST_ASKED)
    return list(group[::step])[:MOST_ASKED]


def _mean_between(a: Sequence[PeerId], b: Sequence[PeerId], round_trip: RoundTrip) -> float:
    """Both ways, because a pipeline goes both ways."""
    return sum(round_trip(x, y) + round_trip(y, x) for x in a for y in b) / (2 * len(a) * len(b))


def _nearest_neighbours(table: list[list[float]]) -> list[int]:
    order, left = [0], list(range(1, len(table) - 1))
    while left:
        nearest = min(left, key=lambda group: (table[order[-1]][group], group))
        left.remove(nearest)
        order.append(nearest)
    return [*order, len(table) - 1]


def _better(order: list[int], table: list[list[float]]) -> list[int] | None:
    """The order after every change that helps, each tried once; None if none does."""
    now, best = order, length(order, table)
    for change, *where in _changes(len(order)):
        tried = change(now, *where)
        reached = length(tried, table)
        if reached < best - 1e-12:
            now, best = tried, reached
    return None if now is order else now


_Change: TypeAlias = "tuple[Callable[[list[int], int, int, int], list[int]], int, int, int]"


def _changes(count: int) -> Iterator[_Change]:
    for a in range(1, count - 1):
        for b in range(a + 1, min(a + FARTHEST, count - 1)):
            yield _reversed, a, b + 1, 0
    for size in range(1, LONGEST_PART + 1):
        for a in range(1, count - size):
            for to in range(max(1, a - FARTHEST), min(a + FARTHEST, count - size)):
                yield _moved, a, size, to


def _reversed(order: list[int], start: int, end: int, _: int) -> list[int]:
    return [*order[:start], *order[start:end][::-1], *order[end:]]


def _moved(order: list[int], at: int, size: int, to: int) -> list[int]:
    part, rest = order[at : at + size], [*order[:at], *order[at + size :]]
    return [*rest[:to], *part, *rest[to:]]
