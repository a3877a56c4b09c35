"""The thread's half of a sending link: a queue, and the writing of it in few, full TLS records."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import Empty, SimpleQueue

from swarmd.net.tensorlink.wire import WireWriter
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.tensors import Ping, encode_header
from swarmd.scheduler.sharing import Rank

_RECORD_BYTES = 16 * 1024
_PATIENT = 8
"""Messages that can wait are sent when there are so many, with the next one that cannot, or with a ping."""


def nothing() -> None:
    """The ``done`` of a message that borrows no memory."""
    return


@dataclass(slots=True, eq=False)
class Item:
    """A message in the queue."""

    head: bytes
    kind: str
    payload: memoryview | None = None
    rank: Rank = Rank.GRADIENT
    done: Callable[[], None] = nothing
    last: bool = False


class Outbox:
    """``put`` and ``stop`` from any thread; ``serve`` is the body of one thread."""

    def __init__(
        self,
        writer: WireWriter,
        written: Callable[[tuple[Item, ...]], None],
        *,
        ping_every: float,
    ) -> None:
        """``written`` is called in the thread with items whose bytes the kernel has."""
        self._writer, self._written, self._ping_every = writer, written, ping_every
        self._queue: SimpleQueue[Item] = SimpleQueue()
        self._patient: deque[Item] = deque()
        self._in_hand: list[Item] = []
        self._small = bytearray()
        self._stopped = threading.Event()

    def put(self, item: Item) -> None:
        """Queue a message."""
        self._queue.put(item)

    def put_patient(self, item: Item) -> None:
        """Queue a message that need not wake the thread: it goes with the next one that does, if not before."""
        self._patient.append(item)
        if len(self._patient) >= _PATIENT:
            self._queue.put(Item(b"", "nudges"))

    def stop(self) -> None:
        """Make ``serve`` raise soon; a write that blocks must be ended by the caller."""
        self._stopped.set()
        self._writer.share.stop()
        self._queue.put(Item(b"", "stops"))

    def leftovers(self) -> list[Item]:
        """Items that were never reported as written; once ``serve`` has ended."""
        while not self._queue.empty():
            self._in_hand.append(self._queue.get_nowait())
        self._in_hand += self._patient
        return self._in_hand

    def serve(self) -> None:
        """Write until the last message has gone. Raises PeerLost, also when stopped."""
        item: Item | None = None
        while item is None or not item.last:
            item = self._waiting()
            if item is None:
                self._flush()
                item = self._next()
            self._take_patient()
            self._in_hand.append(item)
            if self._stopped.is_set():
                raise PeerLost("the link was stopped on our side")
            self._add(item)
        self._flush()

    def _take_patient(self) -> None:
        while self._patient:
            item = self._patient.popleft()
            self._in_hand.append(item)
            self._add(item)

    def _waiting(self) -> Item | None:
        try:
            return self._queue.get_nowait()
        except Empty:
            return None

    def _next(self) -> Item:
        try:
            return self._queue.get(timeout=self._ping_every)
        except Empty:
            return Item(encode_header(Ping()), "pings")

    def _add(self, item: Item) -> None:
        """Begin a record with what is small, so that a little frame is one record and one packet train."""
        self._small += item.head
        if item.payload is not None:
            room = max(0, _RECORD_BYTES - len(self._small))
            self._small += item.payload[:room]
            if room < len(item.payload):
                self._writer.write(self._small, item.rank)
                self._small.clear()
                self._writer.write(item.payload[room:], item.rank)
                self._flush()
        if len(self._small) >= _RECORD_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._small:
            self._writer.write(self._small)
            self._small.clear()
        if self._in_hand:
            items = tuple(self._in_hand)
            self._in_hand.clear()
            self._written(items)
