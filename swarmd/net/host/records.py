"""The record store over the library's Kademlia messages, with lookups of our own.

The library answers from its own copy, however old; looks up in two passes; and does not say whether
anybody took a record.
"""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable

import trio
from libp2p.kad_dht.common import PROTOCOL_ID
from libp2p.kad_dht.kad_dht import DHTMode, KadDHT
from libp2p.peer.id import ID
from libp2p.records.validator import NamespacedValidator

from swarmd.net.counters import Counters
from swarmd.net.host.basic import GuardedHost
from swarmd.net.host.stores import BoundedProviders, BoundedValues
from swarmd.net.host.validator import CheckedRecord
from swarmd.net.host.walk import NEAREST, Walk
from swarmd.net.transport import RecordCheck
from swarmd.protocols.ids import PeerId

_LOOKUP = 10.0
_STORE = 5.0
"""Seconds for finding the nearest peers, and for handing a record to all of them."""
_QUORUM = 4
"""Copies that a reader compares before it believes that it has seen the newest."""
_INBOUND_STREAMS = 48


def make_table(host: GuardedHost, namespace: str, record: CheckedRecord) -> KadDHT:
    """A table that keeps only records of our namespace, in bounded stores."""
    validator = NamespacedValidator({namespace: record}, strict_validation=True)
    table = KadDHT(host, DHTMode.SERVER, validator=validator, validator_changed=True, strict_validation=True)
    table.value_store = BoundedValues(host=host, local_peer_id=host.get_id())
    table.provider_store = BoundedProviders(host=host, peer_routing=table.peer_routing)
    table._inbound_limiter = trio.CapacityLimiter(_INBOUND_STREAMS)
    return table


class HostRecords:
    """Records by key, and which peers provide a key; every operation has a deadline."""

    def __init__(self, host: GuardedHost, namespace: str, check: RecordCheck, counters: Counters) -> None:
        self._host, self._namespace = host, namespace
        self._record = CheckedRecord(check, counters)
        self.table = make_table(host, namespace, self._record)

    async def put(self, key: str, value: bytes) -> bool:
        """Keep a record and hand it to the nearest peers. Raises ProtocolViolation if it is not valid."""
        self._record.sequence(key, value)
        self._keep(key, value)
        return await self._hand_out(key.encode(), self._storing(key.encode(), value))

    async def get(self, key: str) -> bytes | None:
        """The newest valid record that the nearest peers, or we, hold."""
        name, found, copies = key.encode(), list[bytes](), 0

        async def ask(peer: ID) -> list[ID] | None:
            nonlocal copies
            record, nearer = await self.table.value_store._get_from_peer(
                peer, name, return_record=True, return_closer_peers=True
            )
            if record is not None and self._record.newest(key, [record.value]) is not None:
                copies += 1
                found.append(record.value)
            return self._if_reached(peer, nearer)

        walk = Walk(name, self._start(name), ask, lambda: copies >= _QUORUM, found=lambda: copies > 0)
        await walk.run(_LOOKUP)
        own = self.table.value_store.get(name)
        best = self._record.newest(key, [*found, *([own.value] if own else [])])
        if best is None:
            self.table.value_store.remove(name)
        elif own is None or own.value != best:
            self._keep(key, best)
        return best

    async def provide(self, key: str) -> None:
        """Say to the peers nearest to the key that we provide it."""
        name = self._hashed(key)
        self.table.provider_store.providing_keys.add(name)
        await self._hand_out(name, lambda peer: self.table.provider_store._send_add_provider(peer, name))

    async def providers(self, key: str) -> tuple[tuple[PeerId, tuple[str, ...]], ...]:
        """Other peers that provide a key, with their addresses."""
        name = self._hashed(key)
        store = self.table.provider_store
        found = {each.peer_id: each.addrs for each in store.get_providers(name)}

        async def ask(peer: ID) -> list[ID] | None:
            providers, nearer = await store._get_providers_from_peer_with_closers(peer, name)
            found.update((each.peer_id, each.addrs) for each in providers[:NEAREST])
            return self._if_reached(peer, nearer)

        walk = Walk(name, self._start(name), ask, lambda: len(found) >= NEAREST, found=lambda: bool(found))
        await walk.run(_LOOKUP)
        found.pop(self._host.get_id(), None)
        return tuple(
            (PeerId(peer.to_base58()), tuple(str(each).partition("/p2p/")[0] for each in addresses))
            for peer, addresses in list(found.items())[:NEAREST]
        )

    async def add_peer(self, peer: PeerId) -> None:
        """Put a connected peer into the routing table, if it takes part in the hash table."""
        await self.on_identified(ID.from_base58(peer))

    async def on_identified(self, peer: ID) -> None:
        """A peer's protocols and addresses are known."""
        if PROTOCOL_ID in self._host.get_peerstore().get_protocols(peer):
            await self.table.add_peer(peer)

    def _keep(self, key: str, value: bytes) -> None:
        own = self.table.value_store.get(key.encode())
        if own is None or self._record.newest(key, [own.value, value]) == value:
            self.table.value_store.put(key.encode(), value)

    def _storing(self, name: bytes, value: bytes) -> Callable[[ID], Awaitable[bool]]:
        async def store(peer: ID) -> bool:
            return bool(await self.table.value_store._store_at_peer(peer, name, value))

        return store

    async def _hand_out(self, name: bytes, give: Callable[[ID], Awaitable[bool]]) -> bool:
        taken = 0

        async def one(peer: ID) -> None:
            nonlocal taken
            taken += bool(await give(peer))

        nearest = await self._nearest(name)
        with trio.move_on_after(_STORE):
            async with trio.open_nursery() as nursery:
                for peer in nearest:
                    nursery.start_soon(one, peer)
        return taken > 0

    async def _nearest(self, name: bytes) -> list[ID]:
        async def ask(peer: ID) -> list[ID] | None:
            nearer = await self.table.peer_routing._query_peer_for_closest(peer, name)
            return self._if_reached(peer, nearer)

        return (await Walk(name, self._start(name), ask).run(_LOOKUP))[:NEAREST]

    def _if_reached(self, peer: ID, nearer: list[ID]) -> list[ID] | None:
        """The answer of a peer; one that could not even be connected to leaves the routing table."""
        if self._host.get_network().get_connections(peer):
            return nearer
        self.table.routing_table.remove_peer(peer)
        return None

    def _start(self, name: bytes) -> list[ID]:
        near: list[ID] = self.table.routing_table.find_local_closest_peers(name, NEAREST)
        return near or list(self._host.get_connected_peers())[:NEAREST]

    def _hashed(self, key: str) -> bytes:
        return hashlib.sha256(f"{self._namespace}\0{key}".encode()).digest()
