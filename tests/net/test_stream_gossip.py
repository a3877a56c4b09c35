"""Whom gossip over streams goes to, in large swarms; the streams are in memory, so that time is computed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from itertools import combinations

import pytest
import trio

from swarmd.net.counters import Counters
from swarmd.net.memory import Conditions, MemoryNetwork, MemoryTransport
from swarmd.net.stream_gossip import FANOUT, StreamGossip
from swarmd.net.transport import Verdict
from swarmd.protocols.ids import PeerId

TOPIC = "test/news"
MESSAGES = 20


class Node:
    """A node that accepts whatever it hears."""

    def __init__(self, transport: MemoryTransport) -> None:
        self.transport, self.counters = transport, Counters()
        self.gossip = StreamGossip(transport, self.counters, transport.ban)
        self.heard: set[bytes] = set()
        self.gossip.subscribe(TOPIC, self._judge)

    async def _judge(self, sender: PeerId, message: bytes) -> Verdict:
        self.heard.add(message)
        return Verdict.ACCEPT


@asynccontextmanager
async def swarm(count: int, links: Iterator[tuple[int, int]]) -> AsyncIterator[list[Node]]:
    """Nodes with these links, some time after they were made."""
    network = MemoryNetwork(conditions=Conditions(delay=0.01))
    async with trio.open_nursery() as nursery:

        async def hold(number: int, task_status: trio.TaskStatus[Node]) -> None:
            async with network.node(number.to_bytes(32, "big")) as (transport, _):
                node = Node(transport)
                nursery.start_soon(node.gossip.run)
                task_status.started(node)
                await trio.sleep_forever()

        nodes: list[Node] = [await nursery.start(hold, number) for number in range(1, count + 1)]
        for one, other in links:
            await nodes[one].transport.dial(nodes[other].transport.peer_id, nodes[other].transport.addresses())
        await trio.sleep(3)
        yield nodes
        nursery.cancel_scope.cancel()


async def publish(node: Node) -> None:
    for number in range(MESSAGES):
        await node.gossip.publish(TOPIC, b"%d" % number)
        await trio.sleep(0.1)
    await trio.sleep(1)


@pytest.mark.slow
async def test_many_that_know_one_node_only_all_hear_of_each_other(autojump_clock):
    async with swarm(40, ((0, other) for other in range(1, 40))) as nodes:
        await publish(nodes[1])
        assert all(len(node.heard) == MESSAGES for node in nodes if node is not nodes[1])


@pytest.mark.slow
async def test_among_many_that_all_know_each_other_a_message_goes_to_some(autojump_clock):
    async with swarm(30, combinations(range(30), 2)) as nodes:
        await publish(nodes[1])
        assert all(len(node.heard) == MESSAGES for node in nodes if node is not nodes[1])
        received = sum(node.counters.snapshot()["gossip_received"] for node in nodes)
        assert received <= 30 * MESSAGES * FANOUT


@pytest.mark.slow
async def test_a_chain_is_followed_to_its_end(autojump_clock):
    async with swarm(15, ((place, place + 1) for place in range(14))) as nodes:
        await publish(nodes[0])
        assert len(nodes[-1].heard) == MESSAGES
        assert nodes[0].heard == set()
