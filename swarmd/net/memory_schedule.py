"""What arrives at one node, and when: events in order of time, carried out by one task."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable

import trio


class Schedule:
    """Calls at times of trio's clock; of those due at one time, the first planned is the first called."""

    def __init__(self) -> None:
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._planned = trio.Event()

    def at(self, time: float, call: Callable[[], None]) -> None:
        """Call at a time; at once if it has come and nothing else waits for it."""
        if time <= trio.current_time() and not (self._events and self._events[0][0] <= time):
            call()
            return
        heapq.heappush(self._events, (time, next(self._numbers), call))
        self._planned.set()

    async def run(self) -> None:
        """Carry out what is planned, for ever."""
        while True:
            self._planned = trio.Event()
            with trio.move_on_at(self._events[0][0] if self._events else float("inf")):
                await self._planned.wait()
            while self._events and self._events[0][0] <= trio.current_time():
                heapq.heappop(self._events)[2]()
