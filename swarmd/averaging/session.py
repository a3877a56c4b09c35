"""A member's links to all others of its group, kept from round to round.

Control messages and values travel on the same links: direction ``EVALUATE`` of a frame's key marks a message,
``FORWARD`` a member's part of a slice (``micro_batch``), ``BACKWARD`` a result; ``boundary`` counts its chunks.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Set
from typing import Protocol

import trio

from swarmd.averaging.codecs import Bytes
from swarmd.averaging.room import CHUNK, Room
from swarmd.net.tensorlink import Connection, HeapSlot, IncomingLink, LinkLimits, OutgoingLink, Throttle
from swarmd.protocols.averaging import MAX_MESSAGE, MESSAGES, Message
from swarmd.protocols.errors import ProtocolViolation, RemoteError
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.tensors import Ack, Direction, FrameHeader, FrameKey

WINDOW = 4
"""Chunks queued on a link: a message waits behind no more than these."""
KEPT_EARLY = 8
"""Messages kept of each peer for a round that has not begun here."""
LIMITS = LinkLimits(queued_frames=1024)
LAST_WORDS = 1.0
"""Seconds to go on hearing a peer that does not hear us any more."""
_NO_ROOT = bytes(32)


class Listener(Protocol):
    """The round that is going on."""

    def message(self, peer: PeerId, message: Message) -> None:
        """A peer says this."""
        ...

    def slice_came(self, peer: PeerId, key: FrameKey, raw: Bytes) -> None:
        """A peer's part of a slice, or its result, is here whole."""
        ...

    def gone(self, peer: PeerId) -> None:
        """A link to this peer broke."""
        ...


class Session:
    """Owned by one trio task tree; links run in ``nursery`` and end with it."""

    def __init__(self, me: PeerId, run: RunId, nursery: trio.Nursery, throttle: Throttle | None = None) -> None:
        self.me, self.run = me, run
        self.room = Room()
        self.lost: set[PeerId] = set()
        self._nursery, self._throttle = nursery, throttle
        self._out: dict[PeerId, OutgoingLink] = {}
        self._in: dict[PeerId, IncomingLink[HeapSlot]] = {}
        self._windows: dict[PeerId, trio.Semaphore] = {}
        self._early: dict[PeerId, deque[Message]] = {}
        self._ends: dict[PeerId, trio.Event] = {}
        self._listener: Listener | None = None
        self._news = trio.Event()

    def connected(self) -> frozenset[PeerId]:
        """Peers with a link each way."""
        return frozenset(self._out.keys() & self._in.keys() - self.lost)

    async def wait_connected(self, peers: Set[PeerId]) -> None:
        """Until there is a link each way to all of these."""
        while not peers <= self.connected():
            await self._news.wait()

    def add(self, peer: PeerId, connection: Connection) -> None:
        """A link in either direction. Raises ProtocolViolation if there is one already."""
        if peer in (self._out if connection.sends else self._in):
            connection.close()
            raise ProtocolViolation("there is a link to this peer already")
        if connection.sends:
            self._out[peer] = OutgoingLink(connection, limits=LIMITS, throttle=self._throttle)
            self._windows[peer] = trio.Semaphore(WINDOW)
            self._nursery.start_soon(self._serve, peer, self._out[peer])
        else:
            sink = PeerSink(self, peer)
            self._in[peer] = IncomingLink(
                connection, sink, payload_limit=max(CHUNK, MAX_MESSAGE), check_roots=False, limits=LIMITS
            )
            self._nursery.start_soon(self._serve, peer, self._in[peer])
        self._news.set()
        self._news = trio.Event()

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by all links."""
        sent = sum(link.bytes_sent for link in self._out.values())
        return sent, sum(link.bytes_received for link in self._in.values())

    def enter(self, listener: Listener, name: bytes) -> None:
        """A round begins here; it hears what was said of it before."""
        self._listener = listener
        for peer, kept in self._early.items():
            said = [message for message in kept if message.round == name]
            kept.clear()
            for message in said:
                listener.message(peer, message)

    def leave(self) -> None:
        """The round is over here."""
        self._listener = None
        self.room.end()

    def tell(self, peer: PeerId, message: Message, key: FrameKey) -> None:
        """Queue a message; a peer that cannot take it is lost."""
        raw = MESSAGES.encode(message)
        self._send(peer, key, memoryview(raw), lambda: None)

    async def send(self, peer: PeerId, key: Callable[[int], FrameKey], raw: Bytes, wanted: Callable[[], bool]) -> None:
        """Send a slice, chunk by chunk, as long as it is ``wanted`` and the peer is there."""
        view = raw.data
        window = self._windows.get(peer)
        for number, first in enumerate(range(0, len(view), CHUNK)):
            if window is None:
                return
            await window.acquire()
            if peer in self.lost or not wanted():
                window.release()
                return
            self._send(peer, key(number), view[first : first + CHUNK], window.release)

    def heard(self, peer: PeerId, raw: memoryview) -> None:
        """A message's bytes; a peer that sends others is lost."""
        if peer in self.lost:
            return
        try:
            message: Message = MESSAGES.decode(bytes(raw), MAX_MESSAGE)
            if self._listener is None:
                self.keep(peer, message)
            else:
                self._listener.message(peer, message)
        except ProtocolViolation:
            self.drop(peer)

    def keep(self, peer: PeerId, message: Message) -> None:
        """Of a round that is not (yet) ours."""
        self._early.setdefault(peer, deque(maxlen=KEPT_EARLY)).append(message)

    def came(self, peer: PeerId, header: FrameHeader) -> None:
        """A chunk is in its place."""
        raw = self.room.came(peer, header.key, header.payload_bytes)
        if raw is not None and self._listener is not None and peer not in self.lost:
            self._listener.slice_came(peer, header.key, raw)

    def drop(self, peer: PeerId) -> None:
        """This peer is lost to this session; its links end."""
        if peer not in self.lost:
            self.lost.add(peer)
            self._ends.setdefault(peer, trio.Event()).set()
            if self._listener is not None:
                self._listener.gone(peer)

    def _send(self, peer: PeerId, key: FrameKey, payload: memoryview, done: Callable[[], None]) -> None:
        link = self._out.get(peer)
        header = FrameHeader(1, key, 0, 0, "raw", "uint8", (len(payload),), _NO_ROOT)
        try:
            if link is None or peer in self.lost:
                done()
            else:
                link.send(header, payload, done)
        except RemoteError:
            done()
            self._nursery.start_soon(self._drop_soon, peer)

    async def _drop_soon(self, peer: PeerId) -> None:
        self.drop(peer)

    async def _end_when_dropped(self, peer: PeerId, links: trio.CancelScope) -> None:
        await self._ends.setdefault(peer, trio.Event()).wait()
        links.cancel()

    async def _serve(self, peer: PeerId, link: OutgoingLink | IncomingLink[HeapSlot]) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._end_when_dropped, peer, nursery.cancel_scope)
            await link.run()
            nursery.cancel_scope.cancel()
        other = self._in.get(peer)
        if other is not None and other is not link:
            # Its last words may still be on their way.
            with trio.move_on_after(LAST_WORDS):
                await other.lost.wait()
        self.drop(peer)


class PeerSink:
    """What comes from one peer (``FrameSink``)."""

    def __init__(self, session: Session, peer: PeerId) -> None:
        self._session, self._peer = session, peer
        self._ended = threading.Event()

    def allocate(self, header: FrameHeader) -> HeapSlot | None:
        """Room for a message, or the chunk's own place."""
        if header.key.run != self._session.run or header.dtype != "uint8" or len(header.shape) != 1:
            raise ProtocolViolation("a frame of another run or form")
        if header.key.direction == Direction.EVALUATE:
            if header.payload_bytes > MAX_MESSAGE:
                raise ProtocolViolation("a message over the limit")
            return HeapSlot(memoryview(bytearray(header.payload_bytes)))
        view = self._session.room.take(self._peer, header.key, header.payload_bytes, self._ended)
        return None if view is None else HeapSlot(view)

    def discard(self, slot: HeapSlot) -> None:
        """The chunk did not come whole: with it the link has ended."""

    def frame(self, header: FrameHeader, slot: HeapSlot) -> None:
        """A message or a chunk."""
        if header.key.direction == Direction.EVALUATE:
            self._session.heard(self._peer, slot.view)
        else:
            self._session.came(self._peer, header)

    def ack(self, ack: Ack) -> None:
        """Nothing is acknowledged here: the leader hears of whole slices."""

    def interrupt(self) -> None:
        """The link ends."""
        self._ended.set()
        self._session.room.wake()
