"""A yamux connection of our own, in place of the library's.

The library's breaks in ways that any peer can cause: a cancelled write leaves half a frame, a reader
that rests for five seconds resets the writer, a sender may ignore the window and fill our memory, a
frozen peer is never noticed. The wire format is the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import IMuxedConn
from libp2p.connection_types import ConnectionType
from libp2p.io.exceptions import IOException
from libp2p.peer.id import ID
from libp2p.stream_muxer.exceptions import MuxedConnUnavailable, MuxedStreamError
from multiaddr import Multiaddr

from swarmd.net.counters import Counters
from swarmd.net.host.frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER,
    LARGEST_WINDOW,
    PING,
    RST,
    SYN,
    WINDOW_UPDATE,
    frame,
)
from swarmd.net.host.muxed_stream import MuxedStream
from swarmd.net.host.noise import NoiseSession
from swarmd.net.host.outbox import Outbox, Overflow
from swarmd.net.host.pulse import Pulse

MOST_STREAMS = 128
"""Streams a peer may hold open on one connection, and we on it."""
_LINGER = 60.0
"""Seconds a stream that we ended waits for the peer's end."""
_FLUSH = 1.0
_BURST = 256


class _Violation(Exception):
    """The peer broke the rules of yamux."""


class Muxer(IMuxedConn):  # type: ignore[misc]
    """Streams over one secured connection. ``on_close`` is set by the swarm."""

    def __init__(self, conn: NoiseSession, peer_id: ID, counters: Counters) -> None:
        self.secured_conn = conn
        self.peer_id = peer_id
        self.counters = counters
        self.outbox = Outbox()
        self.event_started, self.event_closed = trio.Event(), trio.Event()
        self.on_close: Callable[[], Awaitable[None]] | None = None
        self._streams: dict[int, MuxedStream] = {}
        self._next = 1 if conn.is_initiator else 2
        self._arrived, self._accepted = trio.open_memory_channel[MuxedStream](MOST_STREAMS)
        self._inbox = bytearray()
        self._pulse = Pulse()
        self._scope = trio.CancelScope()
        self._closing = False

    async def start(self) -> None:
        """Carry frames until either side ends the connection."""
        try:
            with self._scope:
                async with trio.open_nursery() as nursery:
                    for task in (self._send, self._receive, self._watch):
                        nursery.start_soon(self._until_over, task)
                    self.event_started.set()
        finally:
            with trio.CancelScope(shield=True):
                await self._end()

    async def close(self) -> None:
        """Say good-bye if the peer still reads, and end. May be called again."""
        if not self._closing:
            self._closing = True
            with trio.CancelScope(deadline=trio.current_time() + _FLUSH, shield=True):
                self.outbox.append(frame(GO_AWAY, 0, 0, 0))
                await self.outbox.empty()
        self._scope.cancel()
        with trio.CancelScope(shield=True):
            await self._end()

    async def open_stream(self) -> MuxedStream:
        """A new stream. Raises MuxedStreamError when the connection has ended or holds too many."""
        if self._closing or self.event_closed.is_set():
            raise MuxedStreamError("the connection has ended")
        if len(self._streams) >= 2 * MOST_STREAMS:
            raise MuxedStreamError("too many streams on this connection")
        stream = self._streams[self._next] = MuxedStream(self._next, self)
        self._next += 2
        self.outbox.append(frame(WINDOW_UPDATE, SYN, stream.number, 0))
        await trio.lowlevel.cancel_shielded_checkpoint()
        return stream

    async def accept_stream(self) -> MuxedStream:
        """The peer's next stream. Raises MuxedConnUnavailable at the end."""
        try:
            return await self._accepted.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError) as error:
            raise MuxedConnUnavailable("the connection has ended") from error

    def answer(self, reply: bytes) -> None:
        """Send a frame that may overtake data; a peer that never reads its answers is cut off."""
        try:
            self.outbox.answer(reply)
        except Overflow:
            self.counters.add("malformed_frames")
            self._scope.cancel()

    def forget(self, stream: MuxedStream) -> None:
        """The stream is over."""
        self._streams.pop(stream.number, None)

    def forget_if_over(self, stream: MuxedStream) -> None:
        """Forget a stream that both sides have ended."""
        if stream.sent_end and stream.got_end:
            self.forget(stream)

    async def _until_over(self, task: Callable[[], Awaitable[None]]) -> None:
        try:
            await task()
        except (_Violation, Overflow):
            self.counters.add("malformed_frames")
        except (IOException, OSError, trio.TooSlowError, trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the connection is gone, which its streams are told below
        self._scope.cancel()

    async def _send(self) -> None:
        await self.outbox.drain(self.secured_conn.write)

    async def _receive(self) -> None:
        for count in itertools.count():
            if count % _BURST == 0:
                await trio.lowlevel.checkpoint()  # small frames arrive by the thousand in one read
            version, kind, flags, number, length = HEADER.unpack(await self._exactly(HEADER.size))
            if version != 0 or kind > GO_AWAY or (kind == DATA and length > LARGEST_WINDOW):
                raise _Violation
            body = await self._exactly(length) if kind == DATA else b""
            if kind == GO_AWAY:
                return
            if kind == PING:
                if flags & SYN:
                    self.outbox.answer(frame(PING, ACK, 0, length))
            else:
                self._on_stream(flags, number, body, length if kind == WINDOW_UPDATE else 0)

    def _on_stream(self, flags: int, number: int, body: bytes, growth: int) -> None:
        if flags & SYN and not self._welcome(number):
            return
        stream = self._streams.get(number)
        if stream is None:
            return  # a stream we have forgotten: its last frames were under way
        if not (stream.deliver(body) and stream.grant(growth)):
            raise _Violation
        if flags & FIN:
            stream.end()
            self.forget_if_over(stream)
        if flags & RST:
            stream.break_off()

    def _welcome(self, number: int) -> bool:
        if number in self._streams or number % 2 == self._next % 2 or number == 0:
            raise _Violation
        if sum(each % 2 == number % 2 for each in self._streams) >= MOST_STREAMS:
            self.counters.add("streams_over_cap")
            self.outbox.answer(frame(WINDOW_UPDATE, RST, number, 0))
            return False
        try:
            self._arrived.send_nowait(stream := MuxedStream(number, self))
        except trio.WouldBlock:
            self.outbox.answer(frame(WINDOW_UPDATE, RST, number, 0))
            return False
        self._streams[number] = stream
        self.outbox.answer(frame(WINDOW_UPDATE, ACK, number, 0))
        return True

    async def _exactly(self, count: int) -> bytes:
        while len(self._inbox) < count:
            self._inbox += await self.secured_conn.read()
            self._pulse.beat()
        data = bytes(self._inbox[:count])
        del self._inbox[:count]
        return data

    async def _watch(self) -> None:
        await self._pulse.stops(lambda: self.outbox.answer(frame(PING, SYN, 0, 0)), self._sweep)
        self.counters.add("peers_frozen")

    def _sweep(self) -> None:
        horizon = trio.current_time() - _LINGER
        for stream in [s for s in self._streams.values() if s.sent_end and s.touched < horizon]:
            stream.abandon()

    async def _end(self) -> None:
        if self.event_closed.is_set():
            return
        self._closing = True
        self.event_closed.set()
        self._arrived.close()
        self.outbox.release()
        for stream in list(self._streams.values()):
            stream.break_off()
        await self.secured_conn.close()
        if self.on_close is not None:
            await self.on_close()

    @property
    def is_initiator(self) -> bool:
        """Whether we dialled."""
        return bool(self.secured_conn.is_initiator)

    @property
    def is_established(self) -> bool:
        """Whether streams can be opened."""
        return self.event_started.is_set() and not self._closing

    @property
    def is_closed(self) -> bool:
        """Whether the connection has ended."""
        return self.event_closed.is_set()

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port of the far end."""
        return self.secured_conn.get_remote_address()

    def get_transport_addresses(self) -> list[Multiaddr]:
        """The far end's address."""
        return self.secured_conn.get_transport_addresses()

    def get_connection_type(self) -> ConnectionType:
        """Direct or relayed."""
        return self.secured_conn.get_connection_type()
