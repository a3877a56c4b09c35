"""Peers that break the rules, over real sockets: the others notice nothing."""

from __future__ import annotations

import random
from contextlib import AsyncExitStack, suppress

import pytest
import trio
from libp2p.utils.varint import encode_delim, encode_uvarint

from swarmd.net.transport import Stream, StreamLimits
from swarmd.protocols.errors import PeerLost, Refused

pytestmark = [pytest.mark.net, pytest.mark.slow]

ECHO, KAD = "/test/echo/1", "/ipfs/kad/1.0.0"


async def until(condition) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side tells us nothing
            await trio.sleep(0.005)


async def echo(stream: Stream) -> None:
    size = int.from_bytes(await stream.receive_exactly(4), "big")
    await stream.send_all(await stream.receive_exactly(size))


@pytest.fixture
async def swarm(open_libp2p):
    """A victim, an honest peer and an attacker, each connected to the victim."""
    nodes = [await open_libp2p(number) for number in (1, 2, 3)]
    (victim, at_victim), (honest, at_honest), (attacker, _) = nodes
    victim.handle(ECHO, echo, StreamLimits(streams_per_peer=4, read_deadline=1.0))
    await honest.dial(victim.peer_id, victim.addresses())
    await attacker.dial(victim.peer_id, victim.addresses())
    value = f"{victim.peer_id}|1|text".encode()
    await until(lambda: at_victim.table.get_routing_table_size() == 2 and at_honest.table.get_routing_table_size())
    assert await at_victim.put(f"/test/{victim.peer_id}", value)
    return victim, honest, at_honest, attacker


async def nobody_else_notices(victim, honest, at_honest, *_: object) -> None:
    with trio.fail_after(30):
        stream = await honest.open_stream(victim.peer_id, ECHO)
        await stream.send_all(b"\0\0\0\5hello")
        assert await stream.receive_exactly(5) == b"hello"
        await stream.close()
        at_honest.table.value_store.store.clear()
        assert await at_honest.get(f"/test/{victim.peer_id}") is not None


def port_of(transport) -> int:
    return int(transport.addresses()[0].rsplit("/", 1)[1])


async def test_garbage_on_the_tcp_port(swarm):
    victim, chance = swarm[0], random.Random(1)
    hello = encode_delim(b"/multistream/1.0.0")
    starts = (
        b"",
        hello,
        hello + encode_delim(b"/noise"),
        hello + encode_delim(b"/plaintext/2.0.0"),
        encode_uvarint(1 << 60),
        hello + encode_uvarint((1 << 64) - 1),
        encode_delim(b"\xff\xfe"),
    )

    async def one(start: bytes) -> None:
        stream = await trio.open_tcp_stream("127.0.0.1", port_of(victim))
        with suppress(trio.BrokenResourceError):
            await stream.send_all(start + chance.randbytes(chance.randrange(400)))
            await stream.send_eof()
            with trio.move_on_after(2):
                while await stream.receive_some(4096):
                    pass
        await stream.aclose()

    for _ in range(12):
        async with trio.open_nursery() as nursery:
            for start in starts:
                nursery.start_soon(one, start)
    assert victim.counters()["handshakes_failed"] > 60
    await nobody_else_notices(*swarm)


async def test_garbage_to_every_protocol_the_librarys_own_included(swarm):
    victim, _, _, attacker = swarm
    chance = random.Random(2)
    protocols = [each for each in victim._host.multiselect.handlers if each]
    assert {KAD, ECHO, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0", "/ipfs/ping/1.0.0"} <= set(protocols)

    async def one(protocol: str) -> None:
        body = chance.randbytes(chance.randrange(1, 200))
        prefix = chance.choice((b"", encode_uvarint(len(body)), encode_uvarint(1 << 40), b"\0\0\0\x20"))
        with suppress(PeerLost):
            stream = await attacker.open_stream(victim.peer_id, protocol)
            await stream.send_all(prefix + body)
            await chance.choice((stream.close, stream.reset))()
            with trio.move_on_after(0.02):
                await stream.receive_exactly(1 << 16)
            await stream.reset()

    for _ in range(60):
        async with trio.open_nursery() as nursery:
            for protocol in protocols:
                nursery.start_soon(one, protocol)
    await nobody_else_notices(*swarm)


async def test_well_formed_messages_with_absurd_contents(swarm):
    from libp2p.kad_dht.pb.kademlia_pb2 import Message

    victim, _, _, attacker = swarm
    chance = random.Random(3)
    for _ in range(150):
        message = Message(type=chance.randrange(6), key=chance.randbytes(chance.choice((0, 3, 34, 200))))
        if chance.random() < 0.5:
            message.record.key = chance.choice((message.key, b"/test/x", b"\xff"))
            message.record.value = chance.randbytes(chance.choice((0, 10, 20_000)))
        for peers in (message.closerPeers, message.providerPeers):
            for _ in range(chance.randrange(3)):
                peers.add(id=chance.randbytes(20), addrs=[chance.randbytes(6)])
        message.senderRecord = chance.choice((b"", chance.randbytes(50)))
        body = message.SerializeToString()
        with suppress(PeerLost):
            stream = await attacker.open_stream(victim.peer_id, KAD)
            await stream.send_all(encode_uvarint(len(body)) + body)
            with trio.move_on_after(0.02):
                await stream.receive_exactly(1)
            await stream.reset()
    await nobody_else_notices(*swarm)


async def test_half_open_streams_take_nobody_elses_room(swarm):
    victim, _, _, attacker = swarm
    held = []
    for protocol in (KAD, ECHO, "/ipfs/id/push/1.0.0"):
        for _ in range(20):
            with suppress(PeerLost):
                held.append(await attacker.open_stream(victim.peer_id, protocol))
    connection = attacker._swarm.get_connections(attacker._swarm.connections.copy().popitem()[0])[0]
    for _ in range(100):
        held.append(await connection.muxed_conn.open_stream())  # never says which protocol
    await nobody_else_notices(*swarm)
    assert victim.counters()["streams_over_cap"] >= 3 * 20 - 12 - 4
    await until(lambda: victim.counters()["read_deadlines"] >= 4)  # here the limit is a second
    await nobody_else_notices(*swarm)


async def test_half_open_connections_take_nobody_elses_room(swarm):
    victim = swarm[0]
    async with AsyncExitStack() as stack:
        for _ in range(100):
            stream = await trio.open_tcp_stream("127.0.0.1", port_of(victim))
            stack.push_async_callback(stream.aclose)
        await swarm[1].disconnect(victim.peer_id)
        await swarm[1].dial(victim.peer_id, ())
        await nobody_else_notices(*swarm)


async def test_a_peer_that_never_reads(swarm):
    victim, _, _, attacker = swarm
    size = 1 << 20
    streams = [await attacker.open_stream(victim.peer_id, ECHO) for _ in range(4)]

    async def ask(stream: Stream) -> None:
        await stream.send_all(size.to_bytes(4, "big") + bytes(size))

    async with trio.open_nursery() as nursery:
        for stream in streams:
            nursery.start_soon(ask, stream)
    await nobody_else_notices(*swarm)
    with pytest.raises(PeerLost):
        await (await attacker.open_stream(victim.peer_id, ECHO)).receive_exactly(1)
    await nobody_else_notices(*swarm)


async def test_a_protocol_with_an_absurd_name(swarm):
    victim, _, _, attacker = swarm
    for name in ("x" * 1000, "\u2603", "/" * 500):
        with pytest.raises((Refused, PeerLost)):
            await attacker.open_stream(victim.peer_id, name)
    await nobody_else_notices(*swarm)


async def test_connections_come_and_go_without_using_up_the_node(swarm):
    victim, _, _, attacker = swarm
    for _ in range(5):
        await attacker.disconnect(victim.peer_id)
        await attacker.dial(victim.peer_id, ())
    await until(lambda: victim._swarm.admission._inbound == 2)
    await nobody_else_notices(*swarm)
