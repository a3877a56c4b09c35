"""Links of the network in memory that are slow, narrow, lossy or broken: computed, and the same for one seed."""

from __future__ import annotations

from contextlib import AsyncExitStack

import pytest
import trio
import trio.testing

from swarmd.net.memory import Bandwidth, Conditions, MemoryNetwork, MemoryTransport
from swarmd.net.transport import Stream, StreamLimits, Verdict
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId

TOPIC, SINK = "test/news", "/test/sink/1"
ROUGH = Conditions(delay=0.05, jitter=0.2, loss=0.1, duplication=0.1)


async def opened(stack: AsyncExitStack, network: MemoryNetwork, count: int) -> list[MemoryTransport]:
    nodes = [(await stack.enter_async_context(network.node(bytes([n + 1]) * 32)))[0] for n in range(count)]
    await connect(nodes)
    return nodes


async def connect(nodes: list[MemoryTransport]) -> None:
    for place, node in enumerate(nodes):
        for other in nodes[:place]:
            await node.dial(other.peer_id, other.addresses())


def listen(node: MemoryTransport) -> list[tuple[float, bytes]]:
    """When the node hears what, from now on."""
    heard: list[tuple[float, bytes]] = []

    async def judge(sender: PeerId, message: bytes) -> Verdict:
        heard.append((trio.current_time(), message))
        return Verdict.ACCEPT

    node.gossip.subscribe(TOPIC, judge)
    return heard


async def gossip_heard(conditions: Conditions, seed: int, messages: int = 200) -> tuple[list[bytes], dict[str, int]]:
    """What a node hears of another over one link, in order, and its counters."""
    async with AsyncExitStack() as stack:
        here, there = await opened(stack, MemoryNetwork(conditions=conditions, seed=seed), 2)
        heard = listen(there)
        for number in range(messages):
            await here.gossip.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.01)
        await trio.sleep(1)
        return [message for _, message in heard], there.counters()


def story(seed: int) -> list[list[tuple[float, bytes]]]:
    """When each of six nodes hears what, on rough links with a partition in between."""

    async def live() -> list[list[tuple[float, bytes]]]:
        async with AsyncExitStack() as stack:
            network = MemoryNetwork(conditions=ROUGH, bandwidth=Bandwidth(up=50_000, down=80_000), seed=seed)
            nodes = await opened(stack, network, 6)
            heard = [listen(node) for node in nodes]
            for number in range(60):
                await nodes[number % 6].gossip.publish(TOPIC, b"%d" % number * 100)
                await trio.sleep(0.05)
                if number == 20:
                    network.split([node.peer_id for node in nodes[:3]])
                if number == 40:
                    network.heal()
                    await connect(nodes)
            await trio.sleep(5)
            return heard

    clock = trio.testing.MockClock(autojump_threshold=0)
    clock.jump(1000.0)
    return trio.run(live, clock=clock)


@pytest.mark.slow
def test_one_seed_tells_one_story_and_another_seed_another():
    assert story(1) == story(1)
    assert story(1) != story(2)


async def test_gossip_is_lost_at_the_given_rate(autojump_clock):
    heard, _ = await gossip_heard(Conditions(loss=0.25), seed=1, messages=1000)
    assert 700 < len(heard) < 800
    assert heard == sorted(heard, key=int)


async def test_gossip_comes_twice_at_the_given_rate_and_is_judged_once(autojump_clock):
    heard, counted = await gossip_heard(Conditions(duplication=0.25), seed=1, messages=1000)
    assert len(heard) == 1000
    assert 200 < counted["gossip_duplicates"] < 300


async def test_gossip_overtakes_gossip_by_jitter_and_none_is_lost(autojump_clock):
    heard, _ = await gossip_heard(Conditions(jitter=0.1), seed=1)
    assert heard != sorted(heard, key=int)
    assert len(heard) == 200


async def test_a_flood_through_neighbours_makes_up_for_loss_on_single_links(autojump_clock):
    async with AsyncExitStack() as stack:
        nodes = await opened(stack, MemoryNetwork(conditions=Conditions(delay=0.01, loss=0.2), seed=1), 8)
        heard = [listen(node) for node in nodes]
        for number in range(100):
            await nodes[0].gossip.publish(TOPIC, b"%d" % number)
            await trio.sleep(0.1)
        assert all(len(each) == 100 for each in heard[1:])


@pytest.fixture
async def pair():
    """Two nodes; the second keeps count of the bytes that reach it."""
    async with AsyncExitStack() as stack:
        network = MemoryNetwork(seed=1)
        here, there = await opened(stack, network, 2)
        there.handle(SINK, sink, StreamLimits())
        yield network, here, there


async def sink(stream: Stream) -> None:
    """Answers each message of four bytes of length, and that many, with one byte."""
    while True:
        size = int.from_bytes(await stream.receive_exactly(4), "big")
        await stream.receive_exactly(size)
        await stream.send_all(b"!")


async def seconds_to_send(here: MemoryTransport, there: MemoryTransport, size: int) -> float:
    stream = await here.open_stream(there.peer_id, SINK)
    before = trio.current_time()
    await stream.send_all(size.to_bytes(4, "big") + bytes(size))
    assert await stream.receive_exactly(1) == b"!"
    await stream.close()
    return trio.current_time() - before


@pytest.mark.parametrize(
    ("sender", "receiver"),
    [
        (Bandwidth(up=100_000), Bandwidth()),
        (Bandwidth(), Bandwidth(down=100_000)),
        (Bandwidth(1e5), Bandwidth(1e9, 1e5)),
    ],
)
async def test_a_transfer_takes_the_time_that_the_narrower_end_needs(autojump_clock, pair, sender, receiver):
    network, here, there = pair
    network.set_bandwidth(here.peer_id, sender)
    network.set_bandwidth(there.peer_id, receiver)
    network.set_conditions(here.peer_id, there.peer_id, Conditions(delay=0.5))
    expected = 1_000_000 / 100_000 + 2 * 0.5
    assert await seconds_to_send(here, there, 1_000_000) == pytest.approx(expected, rel=0.001)


async def test_what_goes_the_other_way_takes_no_bandwidth_of_this_one(autojump_clock, pair):
    network, here, there = pair
    network.set_bandwidth(there.peer_id, Bandwidth(up=1000))
    assert await seconds_to_send(here, there, 1_000_000) == pytest.approx(0.001, rel=0.001)


async def test_streams_of_one_node_share_its_bandwidth(autojump_clock, pair):
    network, here, there = pair
    network.set_bandwidth(here.peer_id, Bandwidth(up=100_000))
    took: list[float] = []

    async def one() -> None:
        took.append(await seconds_to_send(here, there, 500_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(one)
        nursery.start_soon(one)
    assert max(took) == pytest.approx(10.0, rel=0.001)
    assert min(took) > 7  # one has a window's worth of a start


async def test_gossip_waits_for_its_turn_on_a_narrow_uplink(autojump_clock, pair):
    network, here, there = pair
    network.set_bandwidth(here.peer_id, Bandwidth(up=1000))
    heard = listen(there)
    before = trio.current_time()
    for number in range(3):
        await here.gossip.publish(TOPIC, bytes([number]) * 500)
    await trio.sleep(5)
    assert [time - before for time, _ in heard] == pytest.approx([0.5, 1.0, 1.5])


async def test_a_stream_keeps_its_order_however_the_link_jitters(autojump_clock, pair):
    network, here, there = pair
    network.set_conditions(here.peer_id, there.peer_id, Conditions(delay=0.01, jitter=0.5))
    pieces = [bytes([number]) * 50 for number in range(200)]
    arrived = trio.Event()

    async def reader(stream: Stream) -> None:
        assert await stream.receive_exactly(200 * 50) == b"".join(pieces)
        arrived.set()

    there.handle("/test/order/1", reader, StreamLimits())
    stream = await here.open_stream(there.peer_id, "/test/order/1")
    for piece in pieces:
        await stream.send_all(piece)
    with trio.fail_after(10):
        await arrived.wait()


async def test_streams_are_reset_at_the_given_rate(autojump_clock, pair):
    network, here, there = pair
    network.set_conditions(here.peer_id, there.peer_id, Conditions(resets=0.1))
    lives: list[float] = []
    for _ in range(200):
        stream = await here.open_stream(there.peer_id, SINK)
        before = trio.current_time()
        with pytest.raises(PeerLost):
            await stream.receive_exactly(1)
        lives.append(trio.current_time() - before)
    assert 0.05 < 1 / (sum(lives) / len(lives)) < 0.2
    assert here.connected() == {there.peer_id}


async def test_a_split_network_is_several_until_it_is_healed(autojump_clock):
    async with AsyncExitStack() as stack:
        network = MemoryNetwork(conditions=Conditions(delay=0.01))
        nodes = await opened(stack, network, 4)
        heard = [listen(node) for node in nodes]
        one, other = nodes[:2], nodes[2:]
        await nodes[0].gossip.publish(TOPIC, b"under way")
        network.split([node.peer_id for node in one], [node.peer_id for node in other])
        await nodes[0].gossip.publish(TOPIC, b"split")
        await trio.sleep(1)
        assert [[message for _, message in each] for each in heard] == [[], [b"under way", b"split"], [], []]
        assert [len(node.connected()) for node in nodes] == [1, 1, 1, 1]
        with pytest.raises(PeerLost):
            await nodes[0].dial(nodes[2].peer_id, nodes[2].addresses())
        network.heal()
        await nodes[2].dial(nodes[1].peer_id, ())  # by what it remembers
        await nodes[0].gossip.publish(TOPIC, b"whole")
        await trio.sleep(1)
        assert [len(each) for each in heard] == [0, 3, 1, 1]


async def test_a_banned_node_gets_in_again_after_a_while(autojump_clock, pair):
    _, here, there = pair
    there.ban(here.peer_id)
    assert not here.connected()
    with pytest.raises(PeerLost):
        await here.dial(there.peer_id, there.addresses())
    await trio.sleep(60)
    await here.dial(there.peer_id, there.addresses())


@pytest.mark.parametrize("wrong", [{"loss": 1.1}, {"duplication": -0.1}, {"delay": -1.0}, {"resets": -1.0}])
def test_a_link_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValueError, match=r"not negative|probabilities"):
        Conditions(**wrong)
    with pytest.raises(ValueError, match="more than nothing"):
        Bandwidth(up=0)
