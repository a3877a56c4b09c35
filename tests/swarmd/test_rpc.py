"""Requests and answers over two nodes in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest
import trio

from swarmd.net.memory import MemoryNetwork, MemoryTransport
from swarmd.net.rpc import (
    MAX_REASON_CHARS,
    Failure,
    RemoteNotFound,
    call,
    closing,
    receive_message,
    remote_error,
    send_message,
    serve_rpc,
)
from swarmd.net.transport import StreamLimits
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import (
    LocalError,
    NotFound,
    PeerLost,
    ProtocolViolation,
    Refused,
    RemoteError,
    SwarmdError,
    UsageError,
)
from swarmd.protocols.ids import PeerId
from tests.protocols.keys import who

PROTOCOL = "/test/1"


@dataclass(frozen=True, slots=True)
class Ask:
    text: str


@dataclass(frozen=True, slots=True)
class Echo:
    text: str


@dataclass(frozen=True, slots=True)
class Other:
    number: int


@asynccontextmanager
async def two_nodes() -> AsyncIterator[tuple[MemoryTransport, MemoryTransport]]:
    """A client that is connected to a server."""
    network = MemoryNetwork(delay=0.01)
    async with network.node(who(1).seed) as (client, _), network.node(who(2).seed) as (server, _):
        await client.dial(server.peer_id, server.addresses())
        yield client, server


async def echo(peer: PeerId, request: Ask) -> Echo:
    assert peer == who(1).peer
    return Echo(request.text)


async def ask(client: MemoryTransport, request: object, **options: float) -> Echo:
    return await call(client, who(2).peer, PROTOCOL, request, Echo, **options)  # type: ignore[arg-type]


async def test_a_request_is_answered(autojump_clock):
    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: echo})
        assert await ask(client, Ask("hello")) == Echo("hello")


async def test_many_requests_run_at_once(autojump_clock):
    async with two_nodes() as (client, server):
        answers: list[str] = []

        async def one(text: str) -> None:
            answers.append((await ask(client, Ask(text))).text)

        serve_rpc(server, PROTOCOL, {Ask: echo}, limits=StreamLimits(streams_per_peer=20))
        async with trio.open_nursery() as nursery:
            for number in range(20):
                nursery.start_soon(one, str(number))
        assert sorted(answers, key=int) == [str(number) for number in range(20)]


@pytest.mark.parametrize(
    ("raised", "kinds"),
    [
        (Refused("full", hint="later"), (Refused,)),
        (NotFound("no blob", hint="later"), (RemoteNotFound, NotFound, RemoteError)),
        (UsageError("bad", hint="later"), (RemoteError,)),
        (SwarmdError("bad", hint="later"), (RemoteError,)),
    ],
)
async def test_what_a_handler_raises_is_raised_at_the_caller(autojump_clock, raised, kinds):
    async def refuse(peer: PeerId, request: Ask) -> Echo:
        raise raised

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: refuse})
        with pytest.raises(RemoteError) as caught:
            await ask(client, Ask("x"))
    assert (caught.value.message, caught.value.hint) == (raised.message, "later")
    assert all(isinstance(caught.value, kind) for kind in kinds)
    assert not isinstance(caught.value, UsageError), "a peer's mistake is not our user's"


async def test_long_words_are_cut(autojump_clock):
    async def refuse(peer: PeerId, request: Ask) -> Echo:
        raise Refused("x" * 10_000, hint="y" * 10_000)

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: refuse})
        with pytest.raises(Refused) as caught:
            await ask(client, Ask("x"))
    assert caught.value.message == "x" * MAX_REASON_CHARS
    assert caught.value.hint == "y" * MAX_REASON_CHARS


async def test_a_request_of_an_unknown_type_is_refused_with_its_name(autojump_clock):
    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: echo})
        with pytest.raises(ProtocolViolation, match="named 'Other'"):
            await ask(client, Other(1))


async def test_an_answer_of_another_type_is_a_violation(autojump_clock):
    async def wrong(peer: PeerId, request: Ask) -> Other:
        return Other(1)

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: wrong})
        with pytest.raises(ProtocolViolation, match="named 'Other'"):
            await ask(client, Ask("x"))


async def test_a_protocol_nobody_serves_is_refused(autojump_clock):
    async with two_nodes() as (client, _):
        with pytest.raises(Refused, match="does not speak"):
            await ask(client, Ask("x"))


async def test_a_handlers_fault_ends_its_stream_only(autojump_clock):
    async def broken(peer: PeerId, request: Ask) -> Echo:
        raise RuntimeError("a bug")

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: broken})
        with pytest.raises(PeerLost):
            await ask(client, Ask("x"))
        assert server.counters()["handler_errors"] == 1
        serve_rpc(server, PROTOCOL, {Ask: echo})
        assert await ask(client, Ask("still here")) == Echo("still here")


async def test_silence_is_a_lost_peer_after_the_timeout(autojump_clock):
    async def sleepy(peer: PeerId, request: Ask) -> Echo:
        await trio.sleep(20)
        return Echo("late")

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: sleepy})
        started = trio.current_time()
        with pytest.raises(PeerLost, match="no answer to Ask within 3 s"):
            await ask(client, Ask("x"), timeout=3.0)
        assert trio.current_time() - started == pytest.approx(3.0)


async def test_a_slow_handler_is_cut_off(autojump_clock):
    async def stuck(peer: PeerId, request: Ask) -> Echo:
        await trio.sleep_forever()
        raise AssertionError

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: stuck}, timeout=2.0)
        with pytest.raises(RemoteError, match="no answer within 2 s"):
            await ask(client, Ask("x"), timeout=60.0)


async def test_sizes_are_limited_both_ways(autojump_clock):
    async def twice(peer: PeerId, request: Ask) -> Echo:
        return Echo(request.text * 2)

    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: echo}, max_bytes=100)
        with pytest.raises(ValueError, match="over the limit of 50"):
            await ask(client, Ask("x" * 50), max_bytes=50)
        with pytest.raises(PeerLost):
            await ask(client, Ask("x" * 200))
        serve_rpc(server, PROTOCOL, {Ask: twice})
        with pytest.raises(ProtocolViolation, match="over the limit of 60"):
            await ask(client, Ask("x" * 40), max_bytes=60)


async def test_nonsense_is_answered_with_the_reason(autojump_clock):
    async with two_nodes() as (client, server):
        serve_rpc(server, PROTOCOL, {Ask: echo})
        async with closing(await client.open_stream(server.peer_id, PROTOCOL)) as stream:
            await send_message(stream, b"\xc1")
            assert b"violation" in await receive_message(stream)
        async with closing(await client.open_stream(server.peer_id, PROTOCOL)) as stream:
            await send_message(stream, b"")
            assert b"violation" in await receive_message(stream)


async def test_a_stream_that_ends_inside_a_message_is_a_lost_peer(autojump_clock):
    async with two_nodes() as (client, server):

        async def half(stream) -> None:
            await stream.send_all(b"\0\0\0\x09half")
            await stream.close()

        server.handle(PROTOCOL, half, StreamLimits())
        with pytest.raises(PeerLost):
            await ask(client, Ask("x"))


async def test_an_empty_message_is_a_message(autojump_clock):
    async with two_nodes() as (client, server):

        async def empty(stream) -> None:
            await send_message(stream, b"")

        server.handle(PROTOCOL, empty, StreamLimits())
        async with closing(await client.open_stream(server.peer_id, PROTOCOL)) as stream:
            assert await receive_message(stream) == b""


async def test_texts_longer_than_any_honest_peer_sends_are_a_violation(autojump_clock):
    async with two_nodes() as (client, server):

        async def rant(stream) -> None:
            await send_message(stream, encode(("Failure", ("refused", "x" * 501, ""))))

        server.handle(PROTOCOL, rant, StreamLimits())
        with pytest.raises(ProtocolViolation, match="too long"):
            await ask(client, Ask("x"))


def test_no_code_a_peer_sends_puts_the_blame_on_us():
    for code in ("usage", "state", "unreachable", "job_file", "run_failed", "timed_out", "failed", "?"):
        error = remote_error(Failure(code, "x", "y"))
        assert not isinstance(error, LocalError)
        assert type(error) is RemoteError
