"""The record store of the network in memory: every node that can be reached holds a copy."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from swarmd.net.transport import RecordCheck
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId

if TYPE_CHECKING:
    from swarmd.net.memory_transport import MemoryTransport


class MemoryRecords:
    """Records and providers, kept by each node and asked for from all that are connected, over any path."""

    def __init__(self, transport: MemoryTransport, check: RecordCheck) -> None:
        self._transport = transport
        self._check = check
        self._values: dict[str, bytes] = {}
        self._provided: set[str] = set()

    async def put(self, key: str, value: bytes) -> bool:
        """Store a record. Raises ProtocolViolation if it is not valid."""
        self._check(key, value)
        self.take(key, value)
        others = self._others()
        await self._round_trip()
        return sum(each.records.take(key, value) for each in others) > 0

    async def get(self, key: str) -> bytes | None:
        """The newest valid record that anybody holds."""
        await self._round_trip()
        for each in self._others():
            held = each.records.held(key)
            if held is not None:
                self.take(key, held)
        return self.held(key)

    async def provide(self, key: str) -> None:
        """Say that we provide a key."""
        await self._round_trip()
        self._provided.add(key)

    async def providers(self, key: str) -> tuple[tuple[PeerId, tuple[str, ...]], ...]:
        """Other peers that provide a key, with their addresses."""
        await self._round_trip()
        found = (each for each in self._others() if key in each.records._provided)
        return tuple((each.peer_id, each.addresses()) for each in found)

    async def add_peer(self, peer: PeerId) -> None:
        """Every connected peer is in the table already."""
        await trio.lowlevel.checkpoint()

    def take(self, key: str, value: bytes) -> bool:
        """Keep a valid record that is not older than ours; whether it was kept."""
        held = self.held(key)
        if held == value:
            return True
        if self._sequence(key, value) <= (-1 if held is None else self._sequence(key, held)):
            return False
        self._values[key] = value
        return True

    def held(self, key: str) -> bytes | None:
        """Our own copy, unless it fails the check by now."""
        value = self._values.get(key)
        return value if value is not None and self._sequence(key, value) >= 0 else None

    def _sequence(self, key: str, value: bytes) -> int:
        try:
            return self._check(key, value)
        except ProtocolViolation:
            return -1

    def _others(self) -> list[MemoryTransport]:
        """Every node that can be reached over any path of connections, this one left out."""
        nodes = self._transport.network.nodes
        found, fresh = {self._transport.peer_id}, [self._transport]
        while fresh:
            near = {peer for each in fresh for peer in each.connected()} - found
            found |= near
            fresh = [nodes[peer] for peer in near if peer in nodes]
        return [nodes[peer] for peer in sorted(found - {self._transport.peer_id}) if peer in nodes]

    async def _round_trip(self) -> None:
        peers = self._transport.connected()
        delays = [self._transport.network.delay(self._transport.peer_id, peer) for peer in peers]
        await trio.sleep(2 * min(delays, default=0.0))
