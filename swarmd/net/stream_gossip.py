"""Gossip over streams: each node keeps one stream to every neighbour, and passes on what its judges accept.

A push flood with a bounded fanout (Demers et al., "Epidemic algorithms for replicated database maintenance",
1987). There is no list of what was missed, as GossipSub has: whatever matters is fetched by asking peers too.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from contextlib import suppress

import trio

from swarmd.net.counters import Counters, is_only
from swarmd.net.gossip_messages import (
    GOSSIP_PROTOCOL,
    LARGEST_FRAME,
    WORDS,
    Gossiped,
    TakesPart,
    framed,
)
from swarmd.net.gossip_outbox import GossipOutbox
from swarmd.net.judging import Judging
from swarmd.net.rpc import closing
from swarmd.net.transport import Judge, Stream, StreamLimits, Transport
from swarmd.protocols.errors import PeerLost, ProtocolViolation, RemoteError
from swarmd.protocols.framing import PREFIX_BYTES, payload_length
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.pacing import RateLimit, Retry, Waits

_LOG = logging.getLogger(__name__)

HEARTBEAT = 1.0
"""Seconds between looks at who is connected; publishing looks at once."""
FANOUT = 12
"""Neighbours that a message goes to, chosen anew for each, besides those that rely on us."""
FEW = 6
"""A node with no more neighbours than these relies on every one: nobody else may have it for a neighbour."""
FRAMES_PER_SECOND = 200.0
BURST = 1000
"""Frames read of one neighbour; more of them wait in its own queue, and in the end are dropped there."""
_FRAME_SECONDS = 20.0
"""From a frame's first byte to its last."""
_WAITS = Waits(first=1.0, longest=60.0)


class StreamGossip:
    """One node's gossip over a transport. ``run`` must run; ``ban`` throws a neighbour out."""

    def __init__(self, transport: Transport, counters: Counters, ban: Callable[[PeerId], None]) -> None:
        self._transport, self._counters = transport, counters
        self._judging = Judging(counters, self._pass_on, ban)
        self._outboxes: dict[PeerId, GossipOutbox] = {}
        self._said: dict[PeerId, TakesPart] = {}
        self._hello = b""
        self._talking: set[PeerId] = set()
        self._rate: RateLimit[PeerId] = RateLimit(FRAMES_PER_SECOND, BURST)
        self._retry: Retry[PeerId] = Retry(_WAITS)
        self._chance = random.Random()
        self._tasks: trio.Nursery | None = None
        limits = StreamLimits(streams_per_peer=2, read_deadline=float("inf"))
        transport.handle(GOSSIP_PROTOCOL, self._listen, limits)

    def subscribe(self, topic: str, judge: Judge) -> None:
        """Take part in a topic from now on."""
        self._judging.subscribe(topic, judge)
        self._greet()

    async def publish(self, topic: str, message: bytes) -> None:
        """Send to the topic's peers. Raises ValueError over MAX_GOSSIP_BYTES."""
        self._judging.publish(topic, message)
        await trio.lowlevel.checkpoint()

    async def run(self) -> None:
        """Talk to whoever is connected, for ever."""
        async with trio.open_nursery() as nursery:
            self._tasks = nursery
            try:
                nursery.start_soon(self._judging.run)
                while True:
                    self._look()
                    await trio.sleep(HEARTBEAT)
            finally:
                self._tasks = None

    def _look(self) -> None:
        """An outbox for every neighbour, and a stream for every outbox."""
        now, connected = trio.current_time(), self._transport.connected()
        for gone in (self._outboxes.keys() | self._said.keys()) - connected:
            self._outboxes.pop(gone, None)
            self._said.pop(gone, None)
        for peer in connected - self._outboxes.keys():
            self._outboxes[peer] = GossipOutbox(self._counters)
            self._hears_of(peer)
        self._greet()
        for peer in self._outboxes.keys() - self._talking:
            if self._tasks is not None and self._retry.due(peer, now):
                self._talking.add(peer)
                self._tasks.start_soon(self._talk, peer, self._outboxes[peer])

    async def _talk(self, peer: PeerId, outbox: GossipOutbox) -> None:
        self._retry.tried(peer, trio.current_time())
        outbox.say_first(self._hello)
        try:
            async with closing(await self._transport.open_stream(peer, GOSSIP_PROTOCOL)) as stream:
                await self._send(peer, outbox, stream)
        except Exception as error:  # noqa: BLE001 - the edge of what serves one peer
            if not is_only(error, RemoteError):  # it left, or does not gossip: it is tried again later
                self._counters.add("handler_errors")
                _LOG.exception("in gossiping with %s", short(peer))
        finally:
            self._talking.discard(peer)

    async def _send(self, peer: PeerId, outbox: GossipOutbox, stream: Stream) -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_until_lost, stream, nursery.cancel_scope)
            await stream.send_all(await outbox.batch())
            self._retry.succeeded(peer)
            while True:
                await stream.send_all(await outbox.batch())

    async def _listen(self, stream: Stream) -> None:
        peer = stream.remote
        while True:
            word = WORDS.decode(await _next_frame(stream), LARGEST_FRAME)
            if isinstance(word, TakesPart):
                self._retry.succeeded(peer)  # whoever says this takes a stream of ours
                self._said[peer] = word
                self._look()
                self._hears_of(peer)
            else:
                await self._judging.room(peer)
                self._judging.arrived(peer, word.topic, word.message)
            if not self._rate.allow(peer, trio.current_time()):
                await trio.sleep(1.0 / FRAMES_PER_SECOND)

    def _hears_of(self, peer: PeerId) -> None:
        if peer in self._outboxes and peer in self._said:
            said = self._said[peer]
            self._outboxes[peer].hears_of(frozenset(said.topics), said.relies)

    def _pass_on(self, topic: str, message: bytes, holders: frozenset[PeerId]) -> None:
        self._look()
        others = [box for peer, box in self._outboxes.items() if peer not in holders and box.wants(topic)]
        frame = framed(Gossiped(topic, message)) if others else b""
        for outbox in self._chosen(others):
            outbox.put(topic, frame)

    def _chosen(self, outboxes: list[GossipOutbox]) -> list[GossipOutbox]:
        relying = [each for each in outboxes if each.relies]
        rest = [each for each in outboxes if not each.relies]
        return relying + self._chance.sample(rest, min(FANOUT, len(rest)))

    def _greet(self) -> None:
        """Tell every neighbour what has changed about us, if anything has."""
        hello = framed(TakesPart(self._judging.topics, len(self._outboxes) <= FEW))
        if hello != self._hello:
            self._hello = hello
            for outbox in self._outboxes.values():
                outbox.say_first(hello)


async def _until_lost(stream: Stream, sending: trio.CancelScope) -> None:
    """End the sending when the neighbour leaves: it says nothing on a stream of ours, so a read ends with it."""
    with suppress(PeerLost):
        await stream.receive_exactly(1)
    sending.cancel()


async def _next_frame(stream: Stream) -> bytes:
    """The next message; an idle neighbour may take any time before it begins, but little until it ends."""
    first = await stream.receive_exactly(1)
    with trio.move_on_after(_FRAME_SECONDS):
        length = payload_length(first + await stream.receive_exactly(PREFIX_BYTES - 1), LARGEST_FRAME)
        return await stream.receive_exactly(length) if length else b""
    raise ProtocolViolation(f"a message takes over {_FRAME_SECONDS:g} s")
