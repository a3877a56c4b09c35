"""One node's streams on the network in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random
from typing import TYPE_CHECKING
from weakref import WeakSet

import trio

from swarmd.net.bans import Bans
from swarmd.net.counters import Counters, is_only
from swarmd.net.memory_conditions import dice, transit
from swarmd.net.memory_gossip import MemoryGossip
from swarmd.net.memory_records import MemoryRecords
from swarmd.net.memory_stream import MemoryStream, Way, stream_pair
from swarmd.net.memory_wire import Wire
from swarmd.net.transport import Handler, StreamLimits
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId, short

if TYPE_CHECKING:
    from swarmd.net.memory import MemoryNetwork


class MemoryTransport:
    """Streams to and from the other nodes of a network."""

    def __init__(self, network: MemoryNetwork, peer_id: PeerId, nursery: trio.Nursery) -> None:
        self.network, self._peer_id, self._nursery = network, peer_id, nursery
        self._handlers: dict[str, tuple[Handler, StreamLimits]] = {}
        self._open: Counter[tuple[PeerId, str]] = Counter()
        self._streams: dict[PeerId, WeakSet[MemoryStream]] = {}
        self._dice: dict[PeerId, Random] = {}
        self._bans = Bans()
        self.totals = Counters()
        self.wire = Wire(network.bandwidth)
        self._known: dict[PeerId, tuple[str, ...]] = {}
        self.records = MemoryRecords(self, network.check)
        self._gossip = MemoryGossip(self)

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        return self._peer_id

    @property
    def gossip(self) -> MemoryGossip:
        """Messages to everybody; its ``judging`` must run."""
        return self._gossip

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
        node = self.network.reachable(peer, self._peer_id)
        if node is None or node is self or node.addresses()[0] not in tried:
            self.totals.add("dials_failed")
            raise PeerLost("; ".join(f"{each}: nobody answers" for each in tried) or "no address is known")
        self._known[peer] = node.addresses()
        if self._bans.banned(peer, trio.current_time()) or node._bans.banned(self._peer_id, trio.current_time()):
            raise PeerLost(f"{short(peer)} does not talk to us, nor we to it, for a while")
        self._streams[peer], node._streams[self._peer_id] = WeakSet(), WeakSet()

    async def open_stream(self, peer: PeerId, protocol: str) -> MemoryStream:
        """A stream to a connected peer. Raises PeerLost or Refused."""
        await trio.sleep(2 * self.network.delay(self._peer_id, peer))
        if peer not in self._streams:
            raise PeerLost(f"not connected to {short(peer)}", hint="dial it first")
        node = self.network.nodes[peer]
        if protocol not in node._handlers:
            raise Refused(f"{short(peer)} does not speak {protocol}", hint="is its version older?")
        ways = self._way(node), node._way(self)
        ours, theirs = stream_pair(self._peer_id, peer, *ways, self.totals.add, node.totals.add)
        self._streams[peer].add(ours)
        self._doom(node, theirs)
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
        self.lose(peer)
        await trio.lowlevel.cancel_shielded_checkpoint()

    def counters(self) -> dict[str, int]:
        """Totals since the start."""
        return self.totals.snapshot()

    def lose_all(self) -> None:
        """Drop every connection."""
        for peer in tuple(self._streams):
            self.lose(peer)

    def lose(self, peer: PeerId) -> None:
        """Drop the connection to a peer, at once."""
        streams = list(self._streams.pop(peer, ()))
        node = self.network.nodes.get(peer)
        if node is not None:
            streams += node._streams.pop(self._peer_id, ())
        for stream in streams:
            stream.cut()

    def ban(self, peer: PeerId) -> None:
        """Drop the connection to a peer, and let none be made for a while."""
        if self._bans.ban(peer, trio.current_time()):
            self.totals.add("peers_banned")
            self.lose(peer)

    def _way(self, node: MemoryTransport) -> Way:
        conditions, chance = self.network.conditions(self._peer_id, node.peer_id), self._chance(node.peer_id)

        def send(size: int, arrive: Callable[[], None], after: float) -> float:
            return self.wire.send(node.wire, size, transit(conditions, chance), arrive, after)

        return send

    def _doom(self, node: MemoryTransport, stream: MemoryStream) -> None:
        """Plan the stream's reset, on a link that resets streams."""
        rate = self.network.conditions(self._peer_id, node.peer_id).resets
        if rate:
            at = trio.current_time() + self._chance(node.peer_id).expovariate(rate)
            node.wire.schedule.at(at, stream.cut)

    def _chance(self, peer: PeerId) -> Random:
        return self._dice.setdefault(peer, dice(self.network.seed, self._peer_id, peer, "streams"))

    def _accept(self, stream: MemoryStream, protocol: str) -> None:
        handler, limits = self._handlers[protocol]
        if self._open[stream.remote, protocol] >= limits.streams_per_peer:
            self.totals.add("streams_over_cap")
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
            self.totals.add("streams_lost" if is_only(error, PeerLost) else violated)
            stream.cut()
        else:
            await stream.close()
        finally:
            self._open[stream.remote, protocol] -= 1
