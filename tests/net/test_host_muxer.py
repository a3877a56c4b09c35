"""The multiplexer against peers that break its rules, in virtual time and without sockets."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import trio
from libp2p.io.exceptions import ConnectionClosedError
from libp2p.stream_muxer.exceptions import MuxedStreamReset
from trio.testing import memory_stream_pair

from swarmd.net.counters import Counters
from swarmd.net.host.frames import ACK, DATA, FIN, HEADER, PING, RST, SYN, WINDOW, WINDOW_UPDATE, frame
from swarmd.net.host.muxer import MOST_STREAMS, Muxer


class Wire:
    """A secured connection, as the multiplexer sees it."""

    def __init__(self, stream, is_initiator: bool) -> None:
        self.stream, self.is_initiator, self.stuck = stream, is_initiator, False

    async def write(self, data: bytes) -> None:
        if self.stuck:
            await trio.sleep_forever()
        await self.stream.send_all(data)

    async def read(self, n: int | None = None) -> bytes:
        data = await self.stream.receive_some(n or 65536)
        if not data:
            raise ConnectionClosedError("closed")
        return bytes(data)

    async def close(self) -> None:
        await self.stream.aclose()


@pytest.fixture
def raw_and_muxer(nursery):
    """The bare end of a connection, and the multiplexer at its other end."""
    raw, end = memory_stream_pair()
    muxer = Muxer(Wire(end, False), "peer", Counters())
    nursery.start_soon(muxer.start)
    return raw, muxer


@pytest.fixture
def muxer_pair(nursery):
    one, other = memory_stream_pair()
    pair = Muxer(Wire(one, True), "b", Counters()), Muxer(Wire(other, False), "a", Counters())
    for muxer in pair:
        nursery.start_soon(muxer.start)
    return pair


async def test_a_peer_that_freezes_is_dropped_in_a_few_seconds(raw_and_muxer, autojump_clock):
    _, muxer = raw_and_muxer
    await muxer.event_closed.wait()
    assert trio.current_time() < 6
    assert muxer.counters.snapshot()["peers_frozen"] == 1


async def test_a_peer_that_only_answers_pings_is_kept(muxer_pair, autojump_clock):
    await trio.sleep(600)
    assert not any(muxer.is_closed for muxer in muxer_pair)


async def test_a_reader_may_rest_for_long_but_not_for_ever(muxer_pair, autojump_clock):
    here, there = muxer_pair
    stream = await here.open_stream()
    accepted = await there.accept_stream()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stream.write, bytes(2 * WINDOW))
        await trio.sleep(20)
        received = 0
        while received < 2 * WINDOW:
            received += len(await accepted.read())
    with pytest.raises(MuxedStreamReset):
        await stream.write(bytes(20 * WINDOW))
    assert here.counters.snapshot()["write_deadlines"] == 1
    assert not here.is_closed


async def test_a_connection_whose_peer_does_not_read_is_ended(raw_and_muxer, autojump_clock):
    raw, muxer = raw_and_muxer
    muxer.secured_conn.stuck = True
    stream = await muxer.open_stream()
    with trio.fail_after(40), suppress(MuxedStreamReset, trio.BrokenResourceError):
        while True:
            await raw.send_all(frame(PING, ACK, 0, 0))  # alive, and yet it reads nothing
            with trio.move_on_after(1):
                await stream.write(bytes(WINDOW // 8))
    assert muxer.is_closed


async def test_more_than_the_window_ends_the_connection(raw_and_muxer, autojump_clock):
    raw, muxer = raw_and_muxer
    await raw.send_all(frame(WINDOW_UPDATE, SYN, 1, 0))
    for _ in range(WINDOW // 65536):
        await raw.send_all(frame(DATA, 0, 1, 65536) + bytes(65536))
    await trio.testing.wait_all_tasks_blocked()
    assert not muxer.is_closed
    await raw.send_all(frame(DATA, 0, 1, 1) + b"x")
    with trio.fail_after(30):
        await muxer.event_closed.wait()
    assert muxer.counters.snapshot()["malformed_frames"] == 1


async def test_streams_over_the_cap_of_a_connection_are_reset(raw_and_muxer, autojump_clock):
    raw, muxer = raw_and_muxer
    for number in range(MOST_STREAMS + 5):
        await raw.send_all(frame(WINDOW_UPDATE, SYN, 2 * number + 1, 0))
    await trio.testing.wait_all_tasks_blocked()
    assert muxer.counters.snapshot()["streams_over_cap"] == 5
    assert not muxer.is_closed


async def test_a_flood_of_pings_that_reads_no_answer_is_ended(raw_and_muxer, autojump_clock):
    raw, muxer = raw_and_muxer
    muxer.secured_conn.stuck = True
    with trio.fail_after(30), suppress(trio.BrokenResourceError):
        while True:
            await raw.send_all(frame(PING, SYN, 0, 7) * 1000)
            await trio.testing.wait_all_tasks_blocked()
    assert muxer.counters.snapshot()["malformed_frames"] == 1


@pytest.mark.parametrize(
    "bad",
    [
        HEADER.pack(1, PING, SYN, 0, 0),
        HEADER.pack(0, 9, 0, 0, 0),
        frame(DATA, 0, 1, 1 << 31),
        frame(WINDOW_UPDATE, SYN, 2, 0),
        frame(WINDOW_UPDATE, SYN, 0, 0),
        frame(WINDOW_UPDATE, SYN, 1, 0) * 2,
        frame(WINDOW_UPDATE, SYN, 1, 0) + frame(WINDOW_UPDATE, 0, 1, 0xFFFF_FFFF),
    ],
)
async def test_what_no_honest_peer_sends_ends_the_connection(raw_and_muxer, autojump_clock, bad):
    raw, muxer = raw_and_muxer
    await raw.send_all(bad)
    with trio.fail_after(30):
        await muxer.event_closed.wait()
    assert muxer.counters.snapshot()["malformed_frames"] == 1


async def test_no_sequence_of_frames_does_more_than_end_the_connection(nursery, autojump_clock):
    chance = random.Random(8)
    for _ in range(300):
        raw, end = memory_stream_pair()
        muxer = Muxer(Wire(end, False), "peer", Counters())
        nursery.start_soon(muxer.start)
        with suppress(trio.BrokenResourceError):
            for _ in range(chance.randrange(1, 12)):
                await raw.send_all(any_frame(chance))
            await raw.send_all(chance.randbytes(40))
        await raw.aclose()
        with trio.fail_after(10):
            await muxer.event_closed.wait()


def any_frame(chance: random.Random) -> bytes:
    kind, flags = chance.randrange(4), chance.choice((0, SYN, ACK, FIN, RST, SYN | FIN, SYN | RST, 15))
    size = chance.choice((0, 1, 100)) if kind == DATA else chance.getrandbits(32)
    return frame(kind, flags, chance.randrange(6), size) + bytes(size if kind == DATA else 0)


async def test_cancelling_a_write_never_breaks_a_frame(muxer_pair, autojump_clock):
    here, there = muxer_pair
    for _ in range(20):
        stream = await here.open_stream()
        with trio.move_on_after(0.01):
            await stream.write(bytes(10 * WINDOW))
        await stream.reset()
        await there.accept_stream()
    last = await here.open_stream()
    await last.write(b"whole")
    assert await (await there.accept_stream()).read() == b"whole"


async def test_streams_leave_nothing_behind(muxer_pair, autojump_clock):
    here, there = muxer_pair
    for _ in range(500):
        stream = await here.open_stream()
        await stream.write(b"x")
        accepted = await there.accept_stream()
        assert await accepted.read() == b"x"
        await stream.close()
        await accepted.close()
    await trio.testing.wait_all_tasks_blocked()
    assert not here._streams
    assert not there._streams


async def test_a_stream_whose_peer_never_ends_it_is_swept(muxer_pair, autojump_clock):
    here, there = muxer_pair
    stream = await here.open_stream()
    await there.accept_stream()
    await stream.close()
    await trio.sleep(70)
    assert not here._streams
    assert not there._streams
