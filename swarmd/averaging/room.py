"""Where incoming values go: known places only, chunk after chunk, each exactly once.

Link threads ask for room; the trio thread says what is expected. A chunk that comes before its round or
attempt has begun here waits, and with it the link; one that comes after is skipped.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass

from swarmd.averaging.codecs import Bytes
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.protocols.tensors import FrameKey

CHUNK = 512 * 1024
"""Bytes of a frame."""
LONGEST_WAIT = 30.0
"""Seconds a chunk may be ahead of us."""

Transfer = tuple[int, int, int, PeerId]
"""Direction, slice, attempt, sender."""


@dataclass(slots=True)
class Incoming:
    """One whole slice from one peer."""

    raw: Bytes
    next: int = 0
    """The chunk that comes next; the sender's link thread counts it."""
    left: int = 0
    """Bytes that have not come; the trio thread counts them."""


class Room:
    """What is expected in the current round."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._round = (-1, -1)
        self._open = False
        self._attempts: dict[int, int] = {}
        self._incoming: dict[Transfer, Incoming] = {}

    def begin(self, term: int, number: int) -> None:
        """A round begins; nothing is expected yet."""
        with self._changed:
            self._round, self._open = (term, number), True
            self._attempts.clear()
            self._incoming.clear()
            self._changed.notify_all()

    def end(self) -> None:
        """The round is over: whatever still comes of it is skipped."""
        with self._changed:
            self._open = False
            self._incoming.clear()
            self._changed.notify_all()

    def expect(self, number: int, attempt: int, direction: int, places: Mapping[PeerId, Bytes]) -> None:
        """These peers will fill these places with their bytes of this slice; earlier attempts are wanted no more."""
        with self._changed:
            self._attempts[number] = attempt
            for old in [key for key in self._incoming if key[1] == number]:
                del self._incoming[old]
            for sender, raw in places.items():
                self._incoming[direction, number, attempt, sender] = Incoming(raw, left=raw.nbytes)
            self._changed.notify_all()

    def take(self, sender: PeerId, key: FrameKey, size: int, ended: threading.Event) -> memoryview | None:
        """Room for a chunk; None to skip it. Blocks while it is ahead of us. Raises ProtocolViolation."""
        with self._changed:
            self._changed.wait_for(lambda: ended.is_set() or not self._ahead(key), LONGEST_WAIT)
            if ended.is_set() or self._behind(key):
                return None
            transfer = self._incoming.get((key.direction, key.micro_batch, key.attempt, sender))
            if transfer is None:
                raise ProtocolViolation("values that nobody waits for")
            return _next_chunk(transfer, key.boundary, size)

    def came(self, sender: PeerId, key: FrameKey, size: int) -> Bytes | None:
        """A chunk is in its place; the slice's bytes if that was the last one."""
        with self._changed:
            if (key.term, key.step) != self._round:
                return None
            transfer = self._incoming.get((key.direction, key.micro_batch, key.attempt, sender))
            if transfer is None:
                return None
            transfer.left -= size
            return None if transfer.left else transfer.raw

    def wake(self) -> None:
        """Have all who wait look again."""
        with self._changed:
            self._changed.notify_all()

    def _ahead(self, key: FrameKey) -> bool:
        if (key.term, key.step) != self._round:
            return (key.term, key.step) > self._round
        return self._open and key.attempt > self._attempts.get(key.micro_batch, -1)

    def _behind(self, key: FrameKey) -> bool:
        if not self._open or (key.term, key.step) < self._round:
            return True
        return key.attempt < self._attempts.get(key.micro_batch, -1)


def _next_chunk(transfer: Incoming, number: int, size: int) -> memoryview:
    first = number * CHUNK
    whole = transfer.raw.nbytes
    if number != transfer.next or first >= whole or size != min(CHUNK, whole - first):
        raise ProtocolViolation("a chunk out of its order, or of another length")
    transfer.next += 1
    return transfer.raw.data[first : first + size]
