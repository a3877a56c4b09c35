"""One yamux stream: flow control both ways, and deadlines for a peer that does neither."""

from __future__ import annotations

from types import TracebackType
from typing import TYPE_CHECKING

import trio
from libp2p.abc import IMuxedStream
from libp2p.stream_muxer.exceptions import (
    MuxedStreamClosed,
    MuxedStreamEOF,
    MuxedStreamReset,
)

from swarmd.net.host.frames import (
    DATA,
    FIN,
    LARGEST_BODY,
    LARGEST_WINDOW,
    RST,
    WINDOW,
    WINDOW_UPDATE,
    frame,
)

if TYPE_CHECKING:
    from swarmd.net.host.muxer import Muxer

_WRITE_LIMIT = 60.0
"""Seconds a write waits for a reader that takes nothing."""


class MuxedStream(IMuxedStream):  # type: ignore[misc]
    """Bytes both ways. ``read_deadline`` bounds each read, in seconds; None waits as long as it takes."""

    def __init__(self, number: int, muxer: Muxer) -> None:
        self.number = number
        self.muxed_conn = muxer
        self.read_deadline: float | None = None
        self.write_deadline = _WRITE_LIMIT
        self.touched = trio.current_time()
        self.broken = False
        self.sent_end = False
        self.got_end = False
        self._buffer = bytearray()
        self._send_window = WINDOW
        self._window = self._receive_window = WINDOW
        self._owed = self._taken = 0
        self._readable = trio.lowlevel.ParkingLot()
        self._writable = trio.lowlevel.ParkingLot()

    async def read(self, n: int | None = None) -> bytes:
        """What has arrived, at most ``n`` bytes. Raises MuxedStreamEOF or MuxedStreamReset."""
        if not self._buffer:
            await self._arrival()
        data = bytes(self._buffer if n is None or n < 0 else self._buffer[:n])
        del self._buffer[: len(data)]
        self._give_credit(len(data))
        return data

    async def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Raises MuxedStreamReset or MuxedStreamClosed."""
        rest = memoryview(data).cast("B")
        while True:
            self._require_open()
            if not rest:
                break
            if not self._send_window:
                await self._permission()
                continue
            await self.muxed_conn.outbox.room()
            self._require_open()
            size = min(len(rest), self._send_window, LARGEST_BODY)
            self._send_window -= size
            self.muxed_conn.outbox.append(frame(DATA, 0, self.number, size) + rest[:size])
            rest = rest[size:]
        await trio.lowlevel.checkpoint()

    async def close(self) -> None:
        """End our side; the peer's bytes can still be read."""
        if not (self.sent_end or self.broken):
            self.sent_end = True
            self.touched = trio.current_time()
            self.muxed_conn.outbox.append(frame(WINDOW_UPDATE, FIN, self.number, 0))
            self.muxed_conn.forget_if_over(self)
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def reset(self) -> None:
        """Abandon both sides."""
        self.abandon()
        await trio.lowlevel.cancel_shielded_checkpoint()

    def abandon(self) -> None:
        """As ``reset``, at once."""
        if not self.broken and not (self.sent_end and self.got_end):
            self.muxed_conn.outbox.append(frame(WINDOW_UPDATE, RST, self.number, 0))
        self._buffer.clear()
        self.break_off()

    @property
    def over(self) -> bool:
        """Whether both sides have ended it."""
        return self.broken or (self.sent_end and self.got_end)

    def deliver(self, data: bytes) -> bool:
        """Take the peer's bytes; False if they are more than we granted."""
        if len(data) > self._receive_window:
            return False
        self._receive_window -= len(data)
        self.touched = trio.current_time()
        if not (self.broken or self.got_end):
            self._buffer += data
            self._readable.unpark_all()
        return True

    def grant(self, more: int) -> bool:
        """Let more bytes be sent; False if the peer grants more than yamux can say."""
        self._send_window += more
        self._writable.unpark_all()
        return self._send_window <= 0xFFFF_FFFF

    def end(self) -> None:
        """The peer sends no more."""
        self.got_end = True
        self._readable.unpark_all()

    def break_off(self) -> None:
        """Nothing passes any more; what has arrived can still be read: an answer may precede a reset."""
        self.broken = True
        self._readable.unpark_all()
        self._writable.unpark_all()
        self.muxed_conn.forget(self)

    async def _arrival(self) -> None:
        with trio.move_on_after(float("inf") if self.read_deadline is None else self.read_deadline) as scope:
            while not self._buffer:
                if self.broken:
                    raise MuxedStreamReset("the stream was reset")
                if self.got_end:
                    raise MuxedStreamEOF("the peer ended the stream")
                await self._readable.park()
        if scope.cancelled_caught:
            self._too_slow("read_deadlines", "nothing arrived before the deadline")

    async def _permission(self) -> None:
        with trio.move_on_after(self.write_deadline) as scope:
            await self._writable.park()
        if scope.cancelled_caught:
            self._too_slow("write_deadlines", "the peer reads nothing")

    def _too_slow(self, counter: str, reason: str) -> None:
        self.muxed_conn.counters.add(counter)
        self.abandon()
        raise MuxedStreamReset(reason)

    def _require_open(self) -> None:
        if self.broken:
            raise MuxedStreamReset("the stream was reset")
        if self.sent_end:
            raise MuxedStreamClosed("the stream is closed for sending")

    def _give_credit(self, size: int) -> None:
        """Grow the peer's window by what was read, in few frames; it is larger for a reader that keeps up."""
        self._owed += size
        self._taken += size
        if self.got_end or self.broken or self._owed < self._window // 2:
            return
        if self._taken > 2 * self._window and self._window < LARGEST_WINDOW:
            self._owed += self._window
            self._window *= 2
        self._receive_window += self._owed
        self.muxed_conn.answer(frame(WINDOW_UPDATE, 0, self.number, self._owed))
        self._owed = 0

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the far end."""
        return self.muxed_conn.get_remote_address()

    def set_deadline(self, ttl: int) -> bool:
        """The library's name for ``read_deadline``."""
        self.read_deadline = float(ttl)
        return True

    async def __aenter__(self) -> MuxedStream:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
