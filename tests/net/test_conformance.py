"""What every network does, whichever carries it."""

from __future__ import annotations

import pytest
import trio

from swarmd.net.transport import Stream, StreamLimits, Transport
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused
from swarmd.protocols.ids import public_key_of

ECHO = "/test/echo/1"


async def echo(stream: Stream) -> None:
    size = int.from_bytes(await stream.receive_exactly(4), "big")
    await stream.send_all(await stream.receive_exactly(size))


async def say(transport: Transport, peer: str, data: bytes) -> bytes:
    stream = await transport.open_stream(peer, ECHO)
    await stream.send_all(len(data).to_bytes(4, "big") + data)
    answer = await stream.receive_exactly(len(data))
    await stream.close()
    return answer


async def until(condition) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side tells us nothing
            await trio.sleep(0.005)


async def two(open_node, limits: StreamLimits = StreamLimits()):  # noqa: B008
    (here, _), (there, _) = await open_node(1), await open_node(2)
    there.handle(ECHO, echo, limits)
    await here.dial(there.peer_id, there.addresses())
    return here, there


async def test_a_peer_id_is_the_public_key(open_node):
    transport, _ = await open_node(1)
    assert len(public_key_of(transport.peer_id)) == 32


async def test_an_echo_comes_back_and_both_sides_know_the_other(open_node):
    here, there = await two(open_node)
    assert await say(here, there.peer_id, b"hello") == b"hello"
    assert here.connected() == {there.peer_id}
    assert there.connected() == {here.peer_id}
    assert len(here.remote_addresses(there.peer_id)) == 1
    assert here.remote_addresses(here.peer_id) == ()


async def test_four_mebibytes_go_both_ways(open_node):
    here, there = await two(open_node)
    data = bytes(range(256)) * 16384
    assert await say(here, there.peer_id, data) == data


async def test_many_streams_at_once_do_not_mix(open_node):
    here, there = await two(open_node, StreamLimits(streams_per_peer=16))

    async def one(number: int) -> None:
        data = bytes([number]) * 70_000
        assert await say(here, there.peer_id, data) == data

    async with trio.open_nursery() as nursery:
        for number in range(16):
            nursery.start_soon(one, number)


async def test_what_is_sent_before_the_end_arrives_and_the_end_is_a_loss(open_node):
    here, there = await two(open_node)
    got = trio.Event()

    async def reader(stream: Stream) -> None:
        assert await stream.receive_exactly(4) == b"last"
        with pytest.raises(PeerLost):
            await stream.receive_exactly(1)
        await stream.send_all(b"bye")
        got.set()

    there.handle("/test/reader/1", reader, StreamLimits())
    stream = await here.open_stream(there.peer_id, "/test/reader/1")
    await stream.send_all(b"last")
    await stream.close()
    assert await stream.receive_exactly(3) == b"bye"
    await got.wait()


async def test_a_handlers_exception_ends_its_stream_only(open_node):
    here, there = await two(open_node)

    async def broken(stream: Stream) -> None:
        raise RuntimeError("a mistake")

    there.handle("/test/broken/1", broken, StreamLimits())
    for _ in range(3):
        stream = await here.open_stream(there.peer_id, "/test/broken/1")
        with pytest.raises(PeerLost):
            await stream.receive_exactly(1)
    await until(lambda: there.counters().get("handler_errors") == 3)
    assert await say(here, there.peer_id, b"alive") == b"alive"


async def test_an_unknown_protocol_is_refused(open_node):
    here, there = await two(open_node)
    with pytest.raises(Refused):
        await here.open_stream(there.peer_id, "/test/unknown/1")
    assert await say(here, there.peer_id, b"alive") == b"alive"


async def test_streams_over_the_cap_are_reset_and_counted(open_node):
    here, there = await two(open_node, StreamLimits(streams_per_peer=2))
    held = [await here.open_stream(there.peer_id, ECHO) for _ in range(2)]
    with pytest.raises(PeerLost):
        await say(here, there.peer_id, b"one too many")
    assert there.counters()["streams_over_cap"] == 1
    for stream in held:
        await stream.reset()
    await until(lambda: there.counters().get("streams_lost") == 2)
    assert await say(here, there.peer_id, b"room again") == b"room again"


async def test_a_silent_stream_is_reset_at_the_read_deadline(open_node):
    here, there = await two(open_node, StreamLimits(read_deadline=0.05))
    stream = await here.open_stream(there.peer_id, ECHO)
    await stream.send_all(b"\0\0")
    with pytest.raises(PeerLost), trio.fail_after(30):
        await stream.receive_exactly(1)
    assert there.counters()["read_deadlines"] == 1


async def test_a_reset_is_a_loss_for_the_other_side(open_node):
    here, there = await two(open_node)
    lost = trio.Event()

    async def reader(stream: Stream) -> None:
        with pytest.raises(PeerLost):
            await stream.receive_exactly(1 << 20)
        lost.set()

    there.handle("/test/reader/1", reader, StreamLimits())
    stream = await here.open_stream(there.peer_id, "/test/reader/1")
    await stream.send_all(b"some")
    await stream.reset()
    with trio.fail_after(30):
        await lost.wait()
    with pytest.raises(PeerLost):
        await stream.send_all(b"more")


async def test_cancelled_writes_leave_the_connection_whole(open_node):
    here, there = await two(open_node)

    async def deaf(stream: Stream) -> None:
        await trio.sleep(0.2)

    there.handle("/test/deaf/1", deaf, StreamLimits())
    for _ in range(8):
        stream = await here.open_stream(there.peer_id, "/test/deaf/1")
        with trio.move_on_after(0.01) as scope:
            await stream.send_all(bytes(1 << 22))
        assert scope.cancelled_caught
        await stream.reset()
        assert await say(here, there.peer_id, b"whole") == b"whole"


async def test_a_disconnect_is_noticed_by_both_sides_and_by_their_streams(open_node):
    here, there = await two(open_node)
    stream = await here.open_stream(there.peer_id, ECHO)
    await here.disconnect(there.peer_id)
    assert here.connected() == frozenset()
    with pytest.raises(PeerLost):
        await stream.receive_exactly(1)
    await until(lambda: not there.connected())
    with pytest.raises(PeerLost):
        await here.open_stream(there.peer_id, ECHO)
    await here.disconnect(there.peer_id)  # no error


async def test_a_lost_peer_is_dialled_again_by_what_is_remembered(open_node):
    here, there = await two(open_node)
    await here.disconnect(there.peer_id)
    await here.dial(there.peer_id, ())
    assert await say(here, there.peer_id, b"again") == b"again"


async def test_a_dead_address_first_does_not_stop_a_dial(open_node):
    (here, _), (there, _) = await open_node(1), await open_node(2)
    await here.dial(there.peer_id, ("/ip4/127.0.0.1/tcp/9", "nonsense", *there.addresses()))
    assert here.connected() == {there.peer_id}


async def test_a_dial_in_vain_says_each_addresss_reason(open_node):
    (here, _), (there, _), (third, _) = await open_node(1), await open_node(2), await open_node(3)
    with pytest.raises(PeerLost, match=r"tcp/9: .*; .*: "):
        await here.dial(there.peer_id, ("/ip4/127.0.0.1/tcp/9", *third.addresses()))
    with pytest.raises(PeerLost):
        await here.dial(here.peer_id, here.addresses())
    assert here.connected() == frozenset()
    await here.dial(there.peer_id, there.addresses())  # a failure is not held against the peer


async def three(open_node):
    nodes = [await open_node(number) for number in (1, 2, 3)]
    middle = nodes[1][0]
    for transport, records in (nodes[0], nodes[2]):
        await transport.dial(middle.peer_id, middle.addresses())
        await ready(records, middle)
        await ready(nodes[1][1], transport)
    return nodes


async def ready(records, other: Transport) -> None:
    """The hash table knows a connected peer once the two have told each other what they speak."""
    table = getattr(records, "table", None)
    if table is not None:
        await until(lambda: other.peer_id in {str(peer) for peer in table.routing_table.get_peer_ids()})
    await records.add_peer(other.peer_id)


def record(owner: Transport, sequence: int, text: str = "text") -> tuple[str, bytes]:
    return f"/test/{owner.peer_id}", f"{owner.peer_id}|{sequence}|{text}".encode()


async def test_a_record_is_found_by_others(open_node):
    (a, at_a), _, (_, at_c) = await three(open_node)
    key, value = record(a, 1)
    assert await at_a.put(key, value)
    assert await at_a.put(key, value)  # a renewal is taken as well
    assert await at_c.get(key) == value
    assert await at_c.get("/test/nobody") is None


async def test_the_newer_record_wins_even_over_our_own_copy(open_node):
    (a, at_a), (_, at_b), (_, at_c) = await three(open_node)
    key, old = record(a, 1)
    await at_a.put(key, old)
    assert await at_b.get(key) == await at_c.get(key) == old
    _, new = record(a, 2)
    await at_a.put(key, new)
    assert await at_b.get(key) == await at_c.get(key) == new
    await at_c.put(key, old)
    assert await at_b.get(key) == await at_c.get(key) == new


async def test_a_forged_record_is_refused(open_node):
    (a, at_a), (_, at_b), (c, at_c) = await three(open_node)
    key, value = record(a, 1)
    await at_a.put(key, value)
    _, forged = record(c, 9)
    with pytest.raises(ProtocolViolation):
        await at_c.put(key, forged)
    assert await at_b.get(key) == value


async def test_a_record_that_nobody_takes_is_said_to_be_so(open_node):
    alone, records = await open_node(1)
    key, value = record(alone, 1)
    assert not await records.put(key, value)
    assert await records.get(key) == value


async def test_providers_are_found_with_their_addresses(open_node):
    (a, at_a), _, (_, at_c) = await three(open_node)
    await at_a.provide("gpu/large")
    assert await at_c.providers("gpu/large") == ((a.peer_id, a.addresses()),)
    assert await at_a.providers("gpu/large") == ()
    assert await at_c.providers("gpu/small") == ()
