"""What the network in memory adds for tests: time, and cut links."""

from __future__ import annotations

import pytest
import trio

from swarmd.net.memory import MemoryNetwork
from swarmd.net.transport import Stream, StreamLimits
from swarmd.protocols.errors import PeerLost

ECHO = "/test/echo/1"


async def echo(stream: Stream) -> None:
    while True:
        await stream.send_all(await stream.receive_exactly(1))


@pytest.fixture
async def pair():
    network = MemoryNetwork(delay=0.5)
    async with network.node(b"a" * 32) as (here, _), network.node(b"b" * 32) as (there, _):
        there.handle(ECHO, echo, StreamLimits())
        await here.dial(there.peer_id, there.addresses())
        yield network, here, there


async def test_a_links_delay_is_seen_in_each_direction(autojump_clock, pair):
    _, here, there = pair
    stream = await here.open_stream(there.peer_id, ECHO)
    before = trio.current_time()
    await stream.send_all(b"x")
    assert await stream.receive_exactly(1) == b"x"
    assert trio.current_time() - before == pytest.approx(1.0)


async def test_a_link_can_be_slower_than_the_others(autojump_clock, pair):
    network, here, there = pair
    network.set_delay(here.peer_id, there.peer_id, 2.0)
    stream = await here.open_stream(there.peer_id, ECHO)
    before = trio.current_time()
    await stream.send_all(b"x")
    await stream.receive_exactly(1)
    assert trio.current_time() - before == pytest.approx(4.0)


async def test_a_peer_that_is_cut_off_is_lost_until_it_is_mended(autojump_clock, pair):
    network, here, there = pair
    stream = await here.open_stream(there.peer_id, ECHO)
    network.cut(there.peer_id)
    with pytest.raises(PeerLost):
        await stream.receive_exactly(1)
    assert not here.connected()
    with pytest.raises(PeerLost):
        await here.dial(there.peer_id, there.addresses())
    network.mend(there.peer_id)
    await here.dial(there.peer_id, ())
    assert here.connected() == {there.peer_id}


async def test_a_node_that_closes_is_lost_to_the_others(autojump_clock):
    network = MemoryNetwork()
    async with network.node(b"a" * 32) as (here, _):
        async with network.node(b"b" * 32) as (there, _):
            await here.dial(there.peer_id, there.addresses())
        assert not here.connected()


async def test_a_reader_that_rests_holds_the_writer_back_but_not_for_ever(autojump_clock, pair):
    _, here, there = pair

    async def deaf(stream: Stream) -> None:
        await trio.sleep_forever()

    there.handle("/test/deaf/1", deaf, StreamLimits())
    stream = await here.open_stream(there.peer_id, "/test/deaf/1")
    before = trio.current_time()
    with pytest.raises(PeerLost):
        await stream.send_all(bytes(1 << 20))
    assert 10 < trio.current_time() - before < 120
