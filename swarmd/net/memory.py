"""A network within one process, for tests: the same behaviour, no sockets, and no randomness."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from weakref import WeakSet

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmd.net.counters import Counters, is_only
from swarmd.net.memory_records import MemoryRecords
from swarmd.net.memory_stream import MemoryStream, stream_pair
from swarmd.net.transport import Handler, RecordCheck, StreamLimits
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId, peer_id_of, short


class MemoryNetwork:
    """Nodes and the links between them, with a one-way ``delay`` in seconds of trio's clock."""

    def __init__(self, check: RecordCheck = lambda key, value: 0, *, delay: float = 0.0) -> None:
        self.check = check
        self.nodes: dict[PeerId, MemoryTransport] = {}
        self._delay = delay
        self._delays: dict[frozenset[PeerId], float] = {}
        self._cut: set[PeerId] = set()

    @asynccontextmanager
    async def node(self, seed: bytes) -> AsyncIterator[tuple[MemoryTransport, MemoryRecords]]:
        """A node with the identity of a 32-byte seed, for as long as the context lasts."""
        key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            transport = MemoryTransport(self, peer_id_of(key), nursery)
            self.nodes[transport.peer_id] = transport
            try:
                yield transport, transport.records
            except Exception as error:  # noqa: BLE001 - raised below, outside the nursery that would wrap it
                failure = error
            finally:
                del self.nodes[transport.peer_id]
                transport.lose_all()
                nursery.cancel_scope.cancel()
        if failure is not None:
            raise failure

    def set_delay(self, one: PeerId, other: PeerId, seconds: float) -> None:
        """Set a link's one-way delay for streams opened from now on."""
        self._delays[frozenset((one, other))] = seconds

    def delay(self, one: PeerId, other: PeerId) -> float:
        """A link's one-way delay."""
        return self._delays.get(frozenset((one, other)), self._delay)

    def cut(self, peer: PeerId) -> None:
        """Break every connection of a peer, and let it make no new one until ``mend``."""
        self._cut.add(peer)
        if peer in self.nodes:
            self.nodes[peer].lose_all()

    def mend(self, peer: PeerId) -> None:
        """Undo ``cut``."""
        self._cut.discard(peer)

    def reachable(self, peer: PeerId) -> MemoryTransport | None:
        """The node of a peer, unless it is gone or cut off."""
        return None if peer in self._cut else self.nodes.get(peer)


class MemoryTransport:
    """Streams to and from the other nodes of a network."""

    def __init__(self, network: MemoryNetwork, peer_id: PeerId, nursery: trio.Nursery) -> None:
        self.network, self._peer_id, self._nursery = network, peer_id, nursery
        self._handlers: dict[str, tuple[Handler, StreamLimits]] = {}
        self._open: Counter[tuple[PeerId, str]] = Counter()
        self._streams: dict[PeerId, WeakSet[MemoryStream]] = {}
        self._totals = Counters()
        self._known: dict[PeerId, tuple[str, ...]] = {}
        self.records = MemoryRecords(self, network.check)

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        return self._peer_id

    def addresses(self) -> tuple[str, ...]:
        """One address of a form of its own."""
        return (f"/memory/{self._peer_id}",)

    def handle(self, protocol: str, handler: Handler, limits: StreamLimits) -> None:
        """Serve a protocol."""
        self._handlers[protocol] = handler, limits

    async def dial(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        """Connect by the addresses given, or by those that worked before. Raises PeerLost."""
        await trio.sleep(2 * self.network.delay(self._peer_id, peer))
        if peer in self._streams:
            return
        tried = (*addresses, *self._known.get(peer, ()))
        node = self.network.reachable(peer)
        if node is None or node is self or not self._reachable() or node.addresses()[0] not in tried:
            self._totals.add("dials_failed")
            raise PeerLost("; ".join(f"{each}: nobody answers" for each in tried) or "no address is known")
        self._known[peer] = node.addresses()
        self._streams[peer], node._streams[self._peer_id] = WeakSet(), WeakSet()

    async def open_stream(self, peer: PeerId, protocol: str) -> MemoryStream:
        """A stream to a connected peer. Raises PeerLost or Refused."""
        delay = self.network.delay(self._peer_id, peer)
        await trio.sleep(2 * delay)
        if peer not in self._streams:
            raise PeerLost(f"not connected to {short(peer)}", hint="dial it first")
        node = self.network.nodes[peer]
        if protocol not in node._handlers:
            raise Refused(f"{short(peer)} does not speak {protocol}", hint="is its version older?")
        ours, theirs = stream_pair(self._peer_id, peer, delay, self._totals.add, node._totals.add)
        self._streams[peer].add(ours)
        node._accept(theirs, protocol)
        return ours

    def connected(self) -> frozenset[PeerId]:
        """Peers with a live connection."""
        return frozenset(self._streams)

    def remote_addresses(self, peer: PeerId) -> tuple[str, ...]:
        """The peer's address, if it is connected."""
        return (f"/memory/{peer}",) if peer in self._streams else ()

    async def disconnect(self, peer: PeerId) -> None:
        """Drop the connection to a peer."""
        self._lose(peer)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def counters(self) -> dict[str, int]:
        """Totals since the start."""
        return self._totals.snapshot()

    def lose_all(self) -> None:
        """Drop every connection."""
        for peer in tuple(self._streams):
            self._lose(peer)

    def _lose(self, peer: PeerId) -> None:
        streams = list(self._streams.pop(peer, ()))
        node = self.network.nodes.get(peer)
        if node is not None:
            streams += node._streams.pop(self._peer_id, ())
        for stream in streams:
            stream.cut()

    def _reachable(self) -> bool:
        return self.network.reachable(self._peer_id) is self

    def _accept(self, stream: MemoryStream, protocol: str) -> None:
        handler, limits = self._handlers[protocol]
        if self._open[stream.remote, protocol] >= limits.streams_per_peer:
            self._totals.add("streams_over_cap")
            stream.cut()
            return
        self._open[stream.remote, protocol] += 1
        self._streams[stream.remote].add(stream)
        stream.read_deadline = limits.read_deadline
        self._nursery.start_soon(self._serve, stream, protocol, handler)

    async def _serve(self, stream: MemoryStream, protocol: str, handler: Handler) -> None:
        try:
            await handler(stream)
        except Exception as error:  # noqa: BLE001 - the edge of what serves one peer
            violated = "violations" if is_only(error, ProtocolViolation) else "handler_errors"
            self._totals.add("streams_lost" if is_only(error, PeerLost) else violated)
            stream.cut()
        else:
            await stream.close()
        finally:
            self._open[stream.remote, protocol] -= 1
