"""Search of a transition system: exhaustive, breadth first, or along seeded random schedules."""

from __future__ import annotations

import random
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Protocol, TypeVar

S = TypeVar("S", bound=Hashable)


class Model(Protocol[S]):
    """A transition system: where it starts, what may happen next, and what must never be seen."""

    def start(self) -> S: ...
    def steps(self, s: S) -> Iterator[tuple[str, S]]: ...
    def wrong(self, s: S, final: bool) -> str: ...


@dataclass(frozen=True, slots=True)
class Outcome:
    seen: int
    complete: bool = True
    fault: str = ""
    trace: tuple[str, ...] = ()


def explore(model: Model[S], limit: int) -> Outcome:
    """Breadth first over the reachable states, about `limit` at most; a violation comes with a shortest trace."""
    start = model.start()
    parent: dict[S, tuple[S, str]] = {start: (start, "")}
    level = [start]
    while level:
        following: list[S] = []
        for s in level:
            steps = list(model.steps(s))
            if fault := model.wrong(s, final=not steps):
                return Outcome(len(parent), False, fault, _trace(parent, s))
            for label, t in steps:
                if t not in parent:
                    parent[t] = (s, label)
                    following.append(t)
            if len(parent) > limit:
                return Outcome(len(parent), complete=False)
        level = following
    return Outcome(len(parent))


def _trace(parent: dict[S, tuple[S, str]], s: S) -> tuple[str, ...]:
    labels: list[str] = []
    while parent[s][0] != s:
        s, label = parent[s]
        labels.append(label)
    return tuple(reversed(labels))


def wander(model: Model[S], seed: int, schedules: int, length: int = 400) -> Outcome:
    """Seeded random schedules, each run until nothing can happen any more or `length` steps."""
    rng = random.Random(seed)
    for n in range(schedules):
        s, trace = model.start(), list[str]()
        for _ in range(length):
            steps = list(model.steps(s))
            if fault := model.wrong(s, final=not steps):
                return Outcome(n + 1, False, fault, tuple(trace))
            if not steps:
                break
            label, s = rng.choice(steps)
            trace.append(label)
    return Outcome(schedules)
