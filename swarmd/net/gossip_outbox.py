"""Gossip on its way to one neighbour: a bounded queue, of which the oldest go when the neighbour reads too slowly."""

from __future__ import annotations

from collections import deque

import trio

from swarmd.net.counters import Counters

_MOST_FRAMES = 512
_MOST_BYTES = 2 << 20
_BATCH = 64 * 1024
"""Bytes after which a batch is long enough."""


class GossipOutbox:
    """Frames by topic. ``topics`` are those the neighbour takes part in; None while it has not said.

    ``relies`` tells whether it is to be sent every message, as far as we know.
    """

    def __init__(self, counters: Counters) -> None:
        self.topics: frozenset[str] | None = None
        self.relies = True
        self._counters = counters
        self._frames: deque[tuple[str, bytes]] = deque()
        self._urgent = b""
        self._bytes = 0
        self._changed = trio.Event()

    def wants(self, topic: str) -> bool:
        """Whether the neighbour takes part in a topic, as far as we know."""
        return self.topics is None or topic in self.topics

    def put(self, topic: str, frame: bytes) -> None:
        """Queue a frame."""
        self._frames.append((topic, frame))
        self._bytes += len(frame)
        while len(self._frames) > _MOST_FRAMES or self._bytes > _MOST_BYTES:
            self._pop()
            if self.topics is not None:
                self._counters.add("gossip_dropped")
        self._changed.set()

    def say_first(self, frame: bytes) -> None:
        """Queue a frame that overtakes the others, in place of an earlier such."""
        self._urgent = frame
        self._changed.set()

    def hears_of(self, topics: frozenset[str], relies: bool) -> None:
        """The neighbour has said which topics it takes part in."""
        self.topics, self.relies = topics, relies
        self._changed.set()

    async def batch(self) -> bytes:
        """Some frames that the neighbour wants, at least one. They wait until it has said its topics."""
        while True:
            batch = bytearray(self._urgent)
            self._urgent = b""
            while self.topics is not None and self._frames and len(batch) < _BATCH:
                topic, frame = self._pop()
                if topic in self.topics:
                    batch += frame
            if batch:
                return bytes(batch)
            self._changed = trio.Event()
            await self._changed.wait()

    def _pop(self) -> tuple[str, bytes]:
        topic, frame = self._frames.popleft()
        self._bytes -= len(frame)
        return topic, frame
