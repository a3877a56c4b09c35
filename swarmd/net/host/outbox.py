"""What a connection still has to send.

Writers only append whole frames, so cancelling one never leaves half a frame on the wire. One task
drains the box, a batch per send, and each send has a deadline: a peer that does not read loses the
connection.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio

_ROOM = 256 * 1024
"""Bytes of data that may wait; writers wait beyond."""
_MOST_ANSWERS = 64 * 1024
"""Bytes of window updates, acknowledgements and pongs that may wait; a flood of questions ends here."""
_SEND_LIMIT = 30.0
"""Seconds for one send of at most about _ROOM bytes."""


class Overflow(Exception):
    """The peer asks for answers and does not read them."""


class Outbox:
    """Frames in order, with answers before data."""

    def __init__(self) -> None:
        self._answers = bytearray()
        self._data = bytearray()
        self._filled = trio.Event()
        self._drained = trio.Event()
        self._drained.set()
        self._room = trio.lowlevel.ParkingLot()

    def answer(self, frame: bytes) -> None:
        """Queue a frame that may overtake data. Raises Overflow."""
        if len(self._answers) > _MOST_ANSWERS:
            raise Overflow
        self._answers += frame
        self._wake()

    def append(self, frame: bytes) -> None:
        """Queue a frame behind all data so far."""
        self._data += frame
        self._wake()

    async def room(self) -> None:
        """Wait until little enough data waits."""
        while len(self._data) >= _ROOM:
            await self._room.park()

    async def drain(self, send: Callable[[bytes], Awaitable[None]]) -> None:
        """Send batch after batch, for ever. Raises trio.TooSlowError when one takes too long."""
        while True:
            await self._filled.wait()
            batch = bytes(self._answers + self._data)
            self._answers.clear()
            self._data.clear()
            self._filled = trio.Event()
            self._room.unpark_all()
            with trio.fail_after(_SEND_LIMIT):
                await send(batch)
            if not self._filled.is_set():
                self._drained.set()

    async def empty(self) -> None:
        """Wait until everything queued has been sent."""
        await self._drained.wait()

    def release(self) -> None:
        """Wake the writers that wait for room: the connection has ended."""
        self._data.clear()
        self._room.unpark_all()

    def _wake(self) -> None:
        self._filled.set()
        if self._drained.is_set():
            self._drained = trio.Event()
