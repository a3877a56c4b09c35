"""Neighbours that break the rules of gossip, over real sockets: the others notice nothing."""

from __future__ import annotations

import random
from contextlib import suppress

import psutil
import pytest
import trio

from swarmd.net.gossip_messages import GOSSIP_PROTOCOL, LARGEST_FRAME, WORDS, Gossiped, TakesPart, framed
from swarmd.net.transport import MAX_GOSSIP_BYTES, Verdict
from swarmd.protocols.errors import PeerLost, Refused
from swarmd.protocols.framing import frame
from swarmd.protocols.ids import PeerId

pytestmark = [pytest.mark.net, pytest.mark.slow]

TOPIC = "test/news"


async def until(condition) -> None:
    with trio.fail_after(30):
        while not condition():  # noqa: ASYNC110 - the other side tells us nothing
            await trio.sleep(0.005)


class Swarm:
    """A victim, an honest neighbour of it and an attacker; ``heard`` is what the victim's judge was given."""

    def __init__(self, nodes) -> None:
        self.victim, self.honest, self.attacker = (transport for transport, _ in nodes)
        self.heard: list[bytes] = []
        self.told: list[bytes] = []

    async def connect(self) -> None:
        self.victim.gossip.subscribe(TOPIC, self._victims_judge)
        self.honest.gossip.subscribe(TOPIC, self._honest_judge)
        await self.honest.dial(self.victim.peer_id, self.victim.addresses())
        await self.attacker.dial(self.victim.peer_id, self.victim.addresses())

    async def stream(self):
        return await self.attacker.open_stream(self.victim.peer_id, GOSSIP_PROTOCOL)

    async def nobody_else_notices(self, word: bytes = b"are you there?") -> None:
        await self.honest.gossip.publish(TOPIC, word)
        await until(lambda: word in self.heard)
        await self.victim.gossip.publish(TOPIC, b"yes: " + word)
        await until(lambda: b"yes: " + word in self.told)

    async def _victims_judge(self, sender: PeerId, message: bytes) -> Verdict:
        self.heard.append(message)
        return Verdict.REJECT if message.startswith(b"bad") else Verdict.ACCEPT

    async def _honest_judge(self, sender: PeerId, message: bytes) -> Verdict:
        self.told.append(message)
        return Verdict.ACCEPT


@pytest.fixture
async def swarm(open_libp2p):
    swarm = Swarm([await open_libp2p(number) for number in (1, 2, 3)])
    await swarm.connect()
    return swarm


async def test_garbage_on_the_gossip_protocol(swarm):
    chance = random.Random(1)
    for _ in range(300):
        body = chance.randbytes(chance.randrange(1, 300))
        with suppress(PeerLost):
            stream = await swarm.stream()
            await stream.send_all(chance.choice((b"", len(body).to_bytes(4, "big"), b"\xff\xff\xff\xff")) + body)
            await chance.choice((stream.close, stream.reset))()
    await swarm.nobody_else_notices()
    counted = swarm.victim.counters()
    assert counted["violations"] > 20
    assert counted["handler_errors"] == 0
    assert counted["peers_banned"] == 1


async def test_words_that_are_nearly_right(swarm):
    words = [
        TakesPart(tuple(str(number) for number in range(64)), True),
        TakesPart(("x" * 128, "\u2603", ""), False),
        Gossiped("", b""),
        Gossiped("x" * 100_000, b"m"),
        Gossiped(TOPIC, bytes(MAX_GOSSIP_BYTES)),
    ]
    whole = [framed(word) for word in words]
    chance = random.Random(2)
    for _ in range(60):
        raw = bytearray(chance.choice(whole))
        for _ in range(chance.randrange(3)):
            raw[chance.randrange(4, len(raw))] ^= 1 << chance.randrange(8)
        with suppress(PeerLost):
            stream = await swarm.stream()
            await stream.send_all(bytes(raw))
            await stream.close()
    await swarm.nobody_else_notices()
    assert swarm.victim.counters()["handler_errors"] == 0


async def test_a_message_that_is_announced_too_long_is_not_waited_for(swarm):
    stream = await swarm.stream()
    await stream.send_all((LARGEST_FRAME + 1).to_bytes(4, "big"))
    with pytest.raises(PeerLost), trio.fail_after(30):
        await stream.receive_exactly(1)
    assert swarm.victim.counters()["violations"] == 1
    await swarm.nobody_else_notices()


async def test_a_message_over_the_limit_in_a_frame_within_it_is_refused(swarm):
    stream = await swarm.stream()
    raw = WORDS.encode(Gossiped(TOPIC, bytes(MAX_GOSSIP_BYTES)))
    longer = raw.replace(MAX_GOSSIP_BYTES.to_bytes(4, "big"), (MAX_GOSSIP_BYTES + 1).to_bytes(4, "big")) + b"\0"
    await stream.send_all(frame(longer, LARGEST_FRAME))
    await until(lambda: swarm.victim.counters()["violations"] == 1)
    await swarm.nobody_else_notices()


async def test_an_endless_message_is_given_up(swarm, monkeypatch):
    monkeypatch.setattr("swarmd.net.stream_gossip._FRAME_SECONDS", 0.3)
    stream = await swarm.stream()

    async def drip() -> None:
        with suppress(PeerLost):
            await stream.send_all(LARGEST_FRAME.to_bytes(4, "big"))
            while True:
                await stream.send_all(b".")
                await trio.sleep(0.02)

    with trio.fail_after(30):
        await drip()
    assert swarm.victim.counters()["violations"] == 1
    await swarm.nobody_else_notices()


async def test_a_neighbour_holds_few_streams(swarm):
    held = []
    for _ in range(10):
        with suppress(PeerLost, Refused):
            held.append(await swarm.stream())
    await until(lambda: swarm.victim.counters()["streams_over_cap"] >= 7)
    await swarm.nobody_else_notices()


async def test_a_hundred_thousand_messages_fill_no_memory_and_hold_up_nobody(swarm):
    stream = await swarm.stream()
    sent = 0

    async def flood() -> None:
        nonlocal sent
        with suppress(PeerLost):
            await stream.send_all(framed(TakesPart((), True)))
            for start in range(0, 100_000, 500):
                frames = (framed(Gossiped(TOPIC, b"%d " % number + bytes(500))) for number in range(start, start + 500))
                await stream.send_all(b"".join(frames))
                sent += 500

    before = psutil.Process().memory_info().rss
    async with trio.open_nursery() as nursery:
        nursery.start_soon(flood)
        for number in range(6):
            await trio.sleep(0.5)
            await swarm.nobody_else_notices(b"still there %d?" % number)
        nursery.cancel_scope.cancel()
    assert psutil.Process().memory_info().rss - before < 32 << 20
    assert sent < 10_000  # it is read no faster than the rate, and waits at its own end
    assert swarm.victim.counters()["gossip_received"] < 3_000
    assert swarm.victim.counters()["gossip_dropped"] == 0


async def test_a_flood_of_bad_messages_is_dropped_unread(swarm):
    await swarm.attacker.gossip.publish(TOPIC, b"hello")
    await until(lambda: b"hello" in swarm.heard)
    for number in range(200):
        await swarm.attacker.gossip.publish(TOPIC, b"bad %d" % number)
    await until(lambda: swarm.victim.counters()["gossip_throttled"] > 150)
    assert sum(message.startswith(b"bad") for message in swarm.heard) < 50
    await swarm.nobody_else_notices()


async def test_a_neighbour_that_never_reads_costs_a_bounded_queue(swarm):
    held = trio.Event()

    async def deaf(stream) -> None:
        await held.wait()

    swarm.attacker._host.set_stream_handler(GOSSIP_PROTOCOL, deaf)
    await swarm.attacker.disconnect(swarm.victim.peer_id)
    await swarm.attacker.dial(swarm.victim.peer_id, ())
    swarm.attacker.gossip.subscribe(TOPIC, swarm._honest_judge)
    for number in range(100):
        await swarm.victim.gossip.publish(TOPIC, b"%d" % number * 30_000)
        await trio.sleep(0.01)
    await until(lambda: swarm.victim.counters()["gossip_dropped"] > 0)
    await swarm.nobody_else_notices()
    held.set()
