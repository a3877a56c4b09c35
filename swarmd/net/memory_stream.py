"""A stream within one process: bounded, delayed, and breakable like a real one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import partial

import trio

from swarmd.net.memory_wire import PIECE
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId, short

_WINDOW = 256 * 1024
"""Bytes under way in one direction; a writer waits beyond."""
_WRITE_LIMIT = 60.0

Way = Callable[[int, Callable[[], None], float], float]
"""(size, what to call on arrival, not before this time) -> when it arrives at the earliest: one direction of a link."""


class Pipe:
    """One direction: pieces in order, each there when the way has brought it."""

    def __init__(self, way: Way) -> None:
        self.ended = self.broken = False
        self._way = way
        self._there: deque[memoryview] = deque()
        self._under_way = self._held = 0
        self._last = 0.0
        self._changed = trio.lowlevel.ParkingLot()

    async def send(self, data: memoryview) -> None:
        """Put bytes under way, waiting for room. Raises ConnectionError when broken."""
        while data:
            while self._held >= _WINDOW and not self.broken:
                await self._changed.park()
            if self.broken or self.ended:
                raise ConnectionError
            piece = data[: min(_WINDOW - self._held, PIECE)]
            data = data[len(piece) :]
            self._held += len(piece)
            self._under_way += 1
            self._last = self._way(len(piece), partial(self._arrive, piece), self._last)
        await trio.lowlevel.checkpoint()

    async def receive(self, most: int) -> memoryview:
        """Some bytes that have arrived. Raises ConnectionError when broken or ended."""
        while not self._there or self.broken:
            if self.broken or (self.ended and not self._under_way):
                raise ConnectionError
            await self._changed.park()
        piece = self._there.popleft()
        if len(piece) > most:
            self._there.appendleft(piece[most:])
        self._held -= min(most, len(piece))
        self._changed.unpark_all()
        await trio.lowlevel.checkpoint()
        return piece[:most]

    def end(self) -> None:
        """No more bytes; those under way arrive."""
        self.ended = True
        self._changed.unpark_all()

    def cut(self) -> None:
        """Nothing arrives any more."""
        self.broken = True
        self._changed.unpark_all()

    def _arrive(self, piece: memoryview) -> None:
        self._under_way -= 1
        self._there.append(piece)
        self._changed.unpark_all()


class MemoryStream:
    """One end of a stream. ``late`` is called when a wait runs out, with the counter's name."""

    def __init__(self, remote: PeerId, inward: Pipe, outward: Pipe, late: Callable[[str], None]) -> None:
        self.remote = remote
        self.read_deadline = float("inf")
        self._inward, self._outward, self._late = inward, outward, late

    async def receive_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises PeerLost."""
        received = bytearray()
        while len(received) < count:
            with trio.move_on_after(self.read_deadline) as scope:
                try:
                    received += await self._inward.receive(count - len(received))
                except ConnectionError as error:
                    raise self._lost() from error
            if scope.cancelled_caught:
                self._give_up("read_deadlines")
        await trio.lowlevel.checkpoint()
        return bytes(received)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Raises PeerLost."""
        with trio.move_on_after(_WRITE_LIMIT) as scope:
            try:
                await self._outward.send(memoryview(bytes(data)))
            except ConnectionError as error:
                raise self._lost() from error
        if scope.cancelled_caught:
            self._give_up("write_deadlines")

    async def close(self) -> None:
        """End our side."""
        self._outward.end()
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def reset(self) -> None:
        """Abandon both sides."""
        self.cut()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def cut(self) -> None:
        """As ``reset``, at once. What was sent before a close still arrives: an answer may precede a reset."""
        self._inward.cut()
        if not self._outward.ended:
            self._outward.cut()

    def _give_up(self, counter: str) -> None:
        self._late(counter)
        self.cut()
        raise self._lost()

    def _lost(self) -> PeerLost:
        return PeerLost(f"the stream to {short(self.remote)} is over")


def stream_pair(
    here: PeerId,
    there: PeerId,
    forth: Way,
    back: Way,
    late_here: Callable[[str], None],
    late_there: Callable[[str], None],
) -> tuple[MemoryStream, MemoryStream]:
    """Both ends: the one ``here`` holds, and the one ``there`` holds."""
    outward, inward = Pipe(forth), Pipe(back)
    return MemoryStream(there, inward, outward, late_here), MemoryStream(here, outward, inward, late_there)
