"""What waits for one neighbour."""

from __future__ import annotations

import trio
import trio.testing

from swarmd.net.counters import Counters
from swarmd.net.gossip_outbox import GossipOutbox


def outbox_for(topic: str, counters: Counters | None = None) -> GossipOutbox:
    outbox = GossipOutbox(counters or Counters())
    outbox.hears_of(frozenset({topic}), False)
    return outbox


async def test_frames_wait_until_the_neighbour_has_said_its_topics_and_only_those_go():
    outbox = GossipOutbox(Counters())
    outbox.say_first(b"hello")
    outbox.put("x", b"1")
    outbox.put("y", b"2")
    outbox.put("x", b"3")
    assert await outbox.batch() == b"hello"
    outbox.hears_of(frozenset({"x"}), False)
    assert await outbox.batch() == b"13"
    assert not outbox.wants("y")


async def test_a_batch_waits_for_something_to_send(autojump_clock):
    outbox = outbox_for("x")
    batches: list[bytes] = []

    async def take() -> None:
        batches.append(await outbox.batch())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        outbox.put("y", b"not wanted")
        await trio.testing.wait_all_tasks_blocked()
        assert batches == []
        outbox.put("x", b"wanted")
    assert batches == [b"wanted"]


async def test_the_oldest_frames_go_when_too_much_waits():
    counters = Counters()
    outbox = outbox_for("x", counters)
    for number in range(600):
        outbox.put("x", b"%03d." % number)
    waiting = await outbox.batch()
    assert waiting.startswith(b"088.")
    assert waiting.endswith(b"599.")
    assert counters.snapshot()["gossip_dropped"] == 88


async def test_few_large_frames_wait_and_go_in_small_batches():
    outbox = outbox_for("x")
    for _ in range(100):
        outbox.put("x", bytes(100_000))
    sizes = [len(await outbox.batch()) for _ in range(20)]
    assert sizes == [100_000] * 20
