"""What gossip does on every network, whichever carries it."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio

from swarmd.net.standing import FREE_REJECTIONS
from swarmd.net.transport import MAX_GOSSIP_BYTES, Transport, Verdict
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId

TOPIC = "test/news"


class Listener:
    """A node that judges a topic; ``heard`` holds each neighbour and the message it passed on."""

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self.verdict: Callable[[bytes], Verdict] = lambda message: Verdict.ACCEPT
        self.heard: list[tuple[PeerId, bytes]] = []
        transport.gossip.subscribe(TOPIC, self.judge)

    @property
    def messages(self) -> list[bytes]:
        return [message for _, message in self.heard]

    async def judge(self, sender: PeerId, message: bytes) -> Verdict:
        self.heard.append((sender, message))
        return self.verdict(message)

    async def publish(self, *messages: bytes) -> None:
        for message in messages:
            await self.transport.gossip.publish(TOPIC, message)

    async def hears(self, *messages: bytes) -> None:
        await until(lambda: set(messages) <= set(self.messages))

    def counted(self, name: str) -> int:
        return self.transport.counters()[f"gossip_{name}"]


async def until(condition: Callable[[], object]) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side tells us nothing
            await trio.sleep(0.005)


async def listeners(open_node, count: int) -> list[Listener]:
    return [Listener((await open_node(number))[0]) for number in range(1, count + 1)]


async def link(one: Listener, other: Listener) -> None:
    await one.transport.dial(other.transport.peer_id, other.transport.addresses())


@pytest.fixture
async def line(open_node):
    """A - B - C: nothing reaches C unless B passes it on."""
    a, b, c = await listeners(open_node, 3)
    await link(a, b)
    await link(b, c)
    return a, b, c


async def test_a_message_reaches_all_by_way_of_neighbours_and_does_not_come_back(line):
    a, b, c = line
    await a.publish(b"one")
    await c.hears(b"one")
    await c.publish(b"two")
    await a.hears(b"two")
    assert a.heard == [(b.transport.peer_id, b"two")]
    assert b.heard == [(a.transport.peer_id, b"one"), (c.transport.peer_id, b"two")]
    assert c.heard == [(b.transport.peer_id, b"one")]


async def test_a_message_that_comes_by_several_ways_is_judged_once(open_node):
    nodes = await listeners(open_node, 4)
    for place, node in enumerate(nodes):
        for other in nodes[:place]:
            await link(node, other)
    messages = [bytes([number]) for number in range(20)]
    await nodes[0].publish(*messages)
    for node in nodes[1:]:
        await node.hears(*messages)
    await until(lambda: sum(node.counted("duplicates") for node in nodes) > 0)
    await nodes[0].publish(messages[0], b"last")
    for node in nodes[1:]:
        await node.hears(b"last")
        assert sorted(node.messages) == sorted([*messages, b"last"])
    assert nodes[0].heard == []


@pytest.mark.parametrize("verdict", [Verdict.IGNORE, Verdict.REJECT])
async def test_what_is_not_accepted_is_not_passed_on(line, verdict):
    a, b, c = line
    b.verdict = lambda message: verdict if message == b"bad" else Verdict.ACCEPT
    await a.publish(b"bad", b"good")
    await c.hears(b"good")
    await b.hears(b"bad")
    assert c.messages == [b"good"]
    assert b.counted("rejected") == (verdict is Verdict.REJECT)
    assert b.counted("ignored") == (verdict is Verdict.IGNORE)


async def test_the_largest_message_passes_and_a_larger_one_is_refused(line):
    a, _, c = line
    with pytest.raises(ValueError, match="at most"):
        await a.publish(bytes(MAX_GOSSIP_BYTES + 1))
    await a.publish(bytes(MAX_GOSSIP_BYTES))
    await c.hears(bytes(MAX_GOSSIP_BYTES))


async def test_a_judge_that_fails_ignores_the_message_and_is_counted(line):
    a, b, c = line

    def fails(message: bytes) -> Verdict:
        if message == b"odd":
            raise RuntimeError("a mistake")
        return Verdict.ACCEPT

    b.verdict = fails
    await a.publish(b"odd", b"good")
    await c.hears(b"good")
    await until(lambda: b.counted("judge_errors") == 1)
    assert c.messages == [b"good"]
    assert b.counted("rejected") == 0
    assert a.transport.peer_id in b.transport.connected()


async def test_nobody_listens_to_a_neighbour_whose_messages_are_rejected(line):
    a, b, c = line
    b.verdict = lambda message: Verdict.REJECT if message.startswith(b"bad") else Verdict.ACCEPT
    await a.publish(*(b"bad %d" % number for number in range(FREE_REJECTIONS + 1)))
    await until(lambda: b.counted("muted") == 1)
    await a.publish(b"good")
    await until(lambda: b.counted("throttled") == 1)
    await c.publish(b"fine")
    await a.hears(b"fine")
    assert b"good" not in b.messages
    assert a.transport.peer_id in b.transport.connected()


async def test_a_neighbour_that_repeats_a_rejected_message_pays_each_time(line):
    a, b, _ = line
    b.verdict = lambda message: Verdict.REJECT
    await a.publish(b"bad")
    await until(lambda: b.counted("rejected") == 1)
    await a.publish(*[b"bad"] * FREE_REJECTIONS)
    await until(lambda: b.counted("muted") == 1)
    assert b.messages == [b"bad"]


async def test_a_neighbour_that_does_not_better_itself_is_thrown_out(line, monkeypatch):
    monkeypatch.setattr("swarmd.net.standing._MUTES_BEFORE_BAN", 1)
    a, b, c = line
    b.verdict = lambda message: Verdict.REJECT
    await a.publish(*(b"bad %d" % number for number in range(FREE_REJECTIONS + 1)))
    await until(lambda: a.transport.peer_id not in b.transport.connected())
    assert b.transport.counters()["peers_banned"] == 1
    with pytest.raises(PeerLost):
        await b.transport.dial(a.transport.peer_id, a.transport.addresses())
    assert c.transport.peer_id in b.transport.connected()


async def test_a_topic_reaches_only_those_who_take_part_in_it(line):
    a, b, c = line
    await a.transport.gossip.publish("test/elsewhere", b"nobody's")
    await a.publish(b"ours")
    await c.hears(b"ours")
    assert b.messages == c.messages == [b"ours"]
    assert b.counted("received") == 1
    assert b.counted("unsubscribed") == 0


async def test_a_topic_is_joined_at_any_time(line):
    a, b, _ = line
    await a.publish(b"before")
    await b.hears(b"before")
    heard: list[bytes] = []

    async def judge(sender: PeerId, message: bytes) -> Verdict:
        heard.append(message)
        return Verdict.ACCEPT

    b.transport.gossip.subscribe("test/later", judge)

    async def again() -> None:
        for number in range(200):
            await a.transport.gossip.publish("test/later", b"%d" % number)
            await trio.sleep(0.02)
            if heard:
                return

    with trio.fail_after(30):
        await again()
    assert heard


async def test_a_slow_judge_of_one_neighbours_messages_does_not_hold_up_anothers(line):
    a, b, c = line
    released = trio.Event()

    async def judge(sender: PeerId, message: bytes) -> Verdict:
        if sender == a.transport.peer_id:
            await released.wait()
        return await b.judge(sender, message)

    b.transport.gossip.subscribe(TOPIC, judge)
    await a.publish(*(b"%d" % number for number in range(40)))
    await until(lambda: b.counted("received") == 40)
    await c.publish(b"quick")
    await b.hears(b"quick")
    assert b.messages == [b"quick"]
    released.set()
    await c.hears(*(b"%d" % number for number in range(40)))


async def test_gossip_goes_on_after_a_neighbour_was_lost_and_came_back(line):
    a, b, _ = line
    await a.publish(b"one")
    await b.hears(b"one")
    await a.transport.disconnect(b.transport.peer_id)
    await until(lambda: a.transport.peer_id not in b.transport.connected())
    await a.publish(b"lost")
    await link(a, b)
    await a.publish(b"two")
    await b.hears(b"two")
    assert b.messages == [b"one", b"two"]
