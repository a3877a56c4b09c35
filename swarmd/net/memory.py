"""A network within one process, for tests: the same behaviour, no sockets, and chance only by a seed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmd.net.memory_conditions import Bandwidth, Conditions
from swarmd.net.memory_records import MemoryRecords
from swarmd.net.memory_separation import Separation
from swarmd.net.memory_transport import MemoryTransport
from swarmd.net.transport import RecordCheck
from swarmd.protocols.ids import PeerId, peer_id_of

__all__ = ["Bandwidth", "Conditions", "MemoryNetwork", "MemoryTransport"]


class MemoryNetwork:
    """Nodes and the links between them; ``delay``, or ``conditions``, are those of a link with none of its own.

    Whatever befalls a message is drawn from ``seed``, for each link apart. What happens at one instant of trio's
    clock happens in the order trio runs its tasks in.
    """

    def __init__(
        self,
        check: RecordCheck = lambda key, value: 0,
        *,
        delay: float = 0.0,
        conditions: Conditions | None = None,
        bandwidth: Bandwidth | None = None,
        seed: int = 0,
    ) -> None:
        self.check, self.seed = check, seed
        self.bandwidth = bandwidth or Bandwidth()
        self.nodes: dict[PeerId, MemoryTransport] = {}
        self.separation = Separation()
        self._usual = conditions or Conditions(delay=delay)
        self._links: dict[frozenset[PeerId], Conditions] = {}

    @asynccontextmanager
    async def node(self, seed: bytes) -> AsyncIterator[tuple[MemoryTransport, MemoryRecords]]:
        """A node with the identity of a 32-byte seed, for as long as the context lasts."""
        key = Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
        failure: Exception | None = None
        async with trio.open_nursery() as nursery:
            transport = MemoryTransport(self, peer_id_of(key), nursery)
            nursery.start_soon(transport.wire.schedule.run)
            nursery.start_soon(transport.gossip.judging.run)
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

    def conditions(self, one: PeerId, other: PeerId) -> Conditions:
        """A link's conditions."""
        return self._links.get(frozenset((one, other)), self._usual)

    def set_conditions(self, one: PeerId, other: PeerId, conditions: Conditions) -> None:
        """Give a link conditions of its own; streams opened before keep theirs."""
        self._links[frozenset((one, other))] = conditions

    def set_delay(self, one: PeerId, other: PeerId, seconds: float) -> None:
        """Set a link's one-way delay for streams opened from now on."""
        self.set_conditions(one, other, replace(self.conditions(one, other), delay=seconds))

    def set_bandwidth(self, peer: PeerId, bandwidth: Bandwidth) -> None:
        """Set what a node sends and receives from now on."""
        self.nodes[peer].wire.bandwidth = bandwidth

    def delay(self, one: PeerId, other: PeerId) -> float:
        """A link's one-way delay."""
        return self.conditions(one, other).delay

    def cut(self, peer: PeerId) -> None:
        """Break every connection of a peer, and let it make no new one until ``mend``."""
        self.separation.cut.add(peer)
        self._break()

    def mend(self, peer: PeerId) -> None:
        """Undo ``cut``."""
        self.separation.cut.discard(peer)

    def split(self, *groups: Iterable[PeerId]) -> None:
        """Break every connection between groups, and let none be made until ``heal``.

        Nodes in no group, those opened later included, are a group of their own.
        """
        self.separation.groups = {peer: number for number, group in enumerate(groups) for peer in group}
        self._break()

    def heal(self) -> None:
        """Undo ``split``: the connections can be dialled again."""
        self.separation.groups = {}

    def reachable(self, peer: PeerId, by: PeerId) -> MemoryTransport | None:
        """The node of a peer, unless it is gone or cut off from another."""
        return None if self.separation.apart(peer, by) else self.nodes.get(peer)

    def _break(self) -> None:
        for node in self.nodes.values():
            for peer in sorted(node.connected()):
                if self.separation.apart(node.peer_id, peer):
                    node.lose(peer)
