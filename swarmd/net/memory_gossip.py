"""Gossip on the network in memory: a flood from neighbour to neighbour, over links that lose and repeat messages."""

from __future__ import annotations

from random import Random
from typing import TYPE_CHECKING

import trio

from swarmd.net.judging import Judging
from swarmd.net.memory_conditions import Conditions, dice, transit
from swarmd.net.transport import Judge
from swarmd.protocols.ids import PeerId

if TYPE_CHECKING:
    from swarmd.net.memory_transport import MemoryTransport


class MemoryGossip:
    """One node's gossip; ``judging.run`` must run."""

    def __init__(self, transport: MemoryTransport) -> None:
        self._transport = transport
        self._dice: dict[PeerId, Random] = {}
        self.judging = Judging(transport.totals, self._pass_on, transport.ban)

    def subscribe(self, topic: str, judge: Judge) -> None:
        """Take part in a topic from now on."""
        self.judging.subscribe(topic, judge)

    async def publish(self, topic: str, message: bytes) -> None:
        """Send to every neighbour on the topic. Raises ValueError over MAX_GOSSIP_BYTES."""
        self.judging.publish(topic, message)
        await trio.lowlevel.checkpoint()

    def _pass_on(self, topic: str, message: bytes, holders: frozenset[PeerId]) -> None:
        for peer in sorted(self._transport.connected() - holders):
            node = self._transport.network.nodes[peer]
            if topic in node.gossip.judging.topics:
                self._send(node, topic, message)

    def _send(self, node: MemoryTransport, topic: str, message: bytes) -> None:
        here, peer = self._transport.peer_id, node.peer_id
        conditions = self._transport.network.conditions(here, peer)
        chance = self._dice.setdefault(peer, dice(self._transport.network.seed, here, peer, "gossip"))

        def arrive() -> None:
            if here in node.connected():
                node.gossip.judging.arrived(here, topic, message)

        for _ in range(_copies(conditions, chance)):
            self._transport.wire.send(node.wire, len(message), transit(conditions, chance), arrive)


def _copies(conditions: Conditions, chance: Random) -> int:
    lost, doubled = chance.random() < conditions.loss, chance.random() < conditions.duplication
    return 0 if lost else 1 + doubled
