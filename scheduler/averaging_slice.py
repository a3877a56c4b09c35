"""What the leader of an averaging round knows of one slice."""

from __future__ import annotations

Held = tuple[tuple[int, ...], bytes]
"""Contributors, and the hash of the result."""


class SliceState:
    """Who sums it, who holds what, who has tried."""

    def __init__(self, owner: int) -> None:
        self.owner = owner
        self.attempt = 0
        self.since = 0.0
        self.tried: set[int] = set()
        self.held: dict[int, Held] = {}
        self.complained: set[int] = set()

    def begin(self, now: float, owner: int) -> None:
        """This member sums it from now on."""
        self.owner, self.since = owner, now
        self.tried.add(owner)
        self.held.clear()

    def begin_again(self, now: float, owner: int) -> None:
        """Another attempt."""
        self.attempt += 1
        self.begin(now, owner)

    def of(self, live: set[int]) -> dict[int, Held]:
        """What those who take part hold."""
        return {place: held for place, held in self.held.items() if place in live}

    def all_hold(self, live: set[int]) -> bool:
        """Whether each of those has a result."""
        return live <= self.held.keys()

    def agreed(self, live: set[int]) -> bool:
        """Whether each of those has the same result."""
        return self.all_hold(live) and len(set(self.of(live).values())) == 1

    def differing(self, live: set[int], judge: int) -> set[int]:
        """Those whose result is not the judge's."""
        return {place for place, held in self.of(live).items() if held != self.held[judge]}
