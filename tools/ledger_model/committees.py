"""Committees with honest and Byzantine weight, their quorums, and persons who move from one to the next."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import combinations
from typing import Protocol, TypeVar


@dataclass(frozen=True, slots=True)
class Committee:
    """Weights of the honest members by person, and the weight (below a third) of the Byzantine ones."""

    weights: tuple[tuple[int, int], ...]
    byzantine: int

    def members(self) -> list[int]:
        return [m for m, _ in self.weights]

    def enough(self, persons: set[int]) -> bool:
        """Whether these honest members reach the quorum with the Byzantine ones' help."""
        total = sum(w for _, w in self.weights) + self.byzantine
        weight = sum(w for m, w in self.weights if m in persons) + self.byzantine
        return weight >= 2 * total // 3 + 1

    def quorums(self, persons: set[int]) -> list[tuple[int, ...]]:
        """Smallest sets of honest members that are a quorum with the Byzantine ones: they know least."""
        found: list[tuple[int, ...]] = []
        for size in range(len(persons) + 1):
            for group in combinations(sorted(persons), size):
                if self.enough(set(group)) and not any(set(f) <= set(group) for f in found):
                    found.append(group)
        return found


def equal(*groups: tuple[int, ...], byzantine: int = 1) -> tuple[Committee, ...]:
    """Committees of honest members of weight 1 each."""
    return tuple(Committee(tuple((m, 1) for m in group), byzantine) for group in groups)


def population(committees: tuple[Committee, ...]) -> int:
    return 1 + max(m for c in committees for m in c.members())


@lru_cache(maxsize=64)
def alike(committees: tuple[Committee, ...]) -> tuple[tuple[int, ...], ...]:
    """Persons with the same weight in every committee: exchanging them changes nothing."""
    groups: dict[tuple[int, ...], list[int]] = {}
    for m in range(population(committees)):
        groups.setdefault(tuple(dict(c.weights).get(m, 0) for c in committees), []).append(m)
    return tuple(tuple(g) for g in groups.values() if len(g) > 1)


class Ordered(Protocol):
    """A person's whole state, which tells it from others."""

    def __lt__(self: P, other: P, /) -> bool: ...


P = TypeVar("P", bound=Ordered)


def tidy(committees: tuple[Committee, ...], persons: tuple[P, ...]) -> tuple[P, ...]:
    """One representative of all states that differ only by an exchange of persons who are alike."""
    placed = list(persons)
    for group in alike(committees):
        for place, person in zip(group, sorted(persons[m] for m in group), strict=True):
            placed[place] = person
    return tuple(placed)


def joinable(committees: tuple[Committee, ...], m: int, active: int, reports: list[tuple[object, ...]]) -> list[int]:
    """Committees that person `m` can enter now: it has left the one it is in."""
    left = active < 0 or any(getattr(r, "committee", -1) == active for r in reports[m])
    return [c for c in range(active + 1, len(committees)) if c > 0 and left and m in committees[c].members()]
