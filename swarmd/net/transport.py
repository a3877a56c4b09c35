"""What the daemon needs of a network, whichever carries it.

Two implementations pass one set of conformance tests: ``net.host`` (py-libp2p) and ``net.memory``
(in process, for tests). Nothing above this interface knows which one it has.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from swarmd.protocols.ids import PeerId


class Stream(Protocol):
    """One ordered byte stream to a peer whose identity is proven.

    A reset can look like a clean end, so no protocol may take the end of a stream for the end of a
    message: messages carry their length.
    """

    remote: PeerId

    async def receive_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises PeerLost if the stream ends or breaks first."""
        ...

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything; cancelling never leaves half a frame on the connection. Raises PeerLost."""
        ...

    async def close(self) -> None:
        """End our side; what the peer still sends can be read. Never raises."""
        ...

    async def reset(self) -> None:
        """Abandon both sides at once. Never raises."""
        ...


Handler = Callable[[Stream], Awaitable[None]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamLimits:
    """What one protocol's handler grants one peer."""

    streams_per_peer: int = 8
    """Streams of this protocol one peer may hold open; more are reset and counted."""
    read_deadline: float = 20.0
    """Seconds a handler's read may wait before the stream is reset and counted."""


class Verdict(Enum):
    """What a node makes of a gossiped message."""

    ACCEPT = "accept"
    """Worth passing on."""
    IGNORE = "ignore"
    """Not passed on, and nobody's fault: known already, or not ours to judge yet."""
    REJECT = "reject"
    """No honest peer sends this: whoever passed it on loses standing, and is throttled."""


Judge = Callable[[PeerId, bytes], Awaitable[Verdict]]
"""(the neighbour that passed it on, the message) -> verdict; runs once for a message, and acts on what it accepts.

It has ten seconds. An exception that leaves it, or its deadline, counts as IGNORE.
"""

MAX_GOSSIP_BYTES = 128 * 1024


class Gossip(Protocol):
    """Messages to everybody on a topic. Some are lost: whatever matters is also fetched by asking peers."""

    def subscribe(self, topic: str, judge: Judge) -> None:
        """Take part in a topic from now on. Our own messages do not come back to us."""
        ...

    async def publish(self, topic: str, message: bytes) -> None:
        """Send to the topic's peers; returns without knowing who gets it. Raises ValueError over MAX_GOSSIP_BYTES."""
        ...


class Transport(Protocol):
    """Streams to and from peers."""

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        ...

    @property
    def gossip(self) -> Gossip:
        """Messages to everybody, over the same connections."""
        ...

    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses we listen on, without ``/p2p``."""
        ...

    def handle(self, protocol: str, handler: Handler, limits: StreamLimits) -> None:
        """Serve a protocol. What leaves ``handler`` as an exception ends that stream only, and is counted."""
        ...

    async def dial(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        """Connect, trying every address. Raises PeerLost with each address's reason."""
        ...

    async def open_stream(self, peer: PeerId, protocol: str) -> Stream:
        """A stream to a connected peer. Raises PeerLost, or Refused if it does not speak the protocol."""
        ...

    def connected(self) -> frozenset[PeerId]:
        """Peers with a live connection."""
        ...

    def remote_addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Addresses the peer's live connections come from or go to; empty when there is none."""
        ...

    async def disconnect(self, peer: PeerId) -> None:
        """Drop every connection to a peer. Never raises."""
        ...

    def counters(self) -> dict[str, int]:
        """Totals since the start: handler errors, streams over the cap, read deadlines, and so on, by name."""
        ...


class RecordStore(Protocol):
    """The distributed hash table: adverts by peer, and which peers provide a key."""

    async def put(self, key: str, value: bytes) -> bool:
        """Store a record; False if no other peer took it."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The best valid record anywhere, past our own stale copy."""
        ...

    async def provide(self, key: str) -> None:
        """Say that we provide a key."""
        ...

    async def providers(self, key: str) -> tuple[tuple[PeerId, tuple[str, ...]], ...]:
        """Peers that provide a key, with their addresses."""
        ...

    async def add_peer(self, peer: PeerId) -> None:
        """Put a connected peer into the routing table."""
        ...


RecordCheck = Callable[[str, bytes], int]
"""(key, value) -> the record's sequence number; raises ProtocolViolation for a bad or expired record."""
