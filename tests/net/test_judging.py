"""What a node does with gossip however much of it there is."""

from __future__ import annotations

import pytest
import trio
import trio.testing

from swarmd.net.counters import Counters
from swarmd.net.judging import MAX_TOPIC_BYTES, MOST_TOPICS, Judging
from swarmd.net.seen import MOST_SEEN, SEEN_SECONDS, Seen
from swarmd.net.transport import MAX_GOSSIP_BYTES, Verdict
from swarmd.protocols.ids import PeerId

A, B, C = PeerId("a"), PeerId("b"), PeerId("c")


@pytest.fixture
async def node(nursery):
    counters, sent, banned = Counters(), [], []
    judging = Judging(counters, lambda *each: sent.append(each), banned.append)
    nursery.start_soon(judging.run)
    return judging, counters, sent, banned


async def accepts(sender: PeerId, message: bytes) -> Verdict:
    return Verdict.ACCEPT


async def rejects(sender: PeerId, message: bytes) -> Verdict:
    return Verdict.REJECT


async def test_a_flood_is_dropped_past_a_bounded_queue(autojump_clock, node):
    judging, counters, sent, _ = node
    judging.subscribe("x", accepts)
    for number in range(100_000):
        judging.arrived(A, "x", number.to_bytes(4, "big"))
    judging.arrived(B, "x", b"quiet")
    await trio.testing.wait_all_tasks_blocked()
    counted = counters.snapshot()
    assert counted["gossip_received"] == 100_001
    assert counted["gossip_dropped"] == 100_000 - 256
    assert len(sent) == 257
    assert ("x", b"quiet", frozenset([B])) in sent[:10]  # the flood does not stand before it


async def test_large_messages_fill_the_queue_sooner(autojump_clock, node):
    judging, counters, _, _ = node
    judging.subscribe("x", accepts)
    for number in range(100):
        judging.arrived(A, "x", bytes([number]) * MAX_GOSSIP_BYTES)
    assert counters.snapshot()["gossip_dropped"] == 100 - 8


async def test_a_reader_can_wait_for_room_so_that_nothing_is_dropped(autojump_clock, node):
    judging, counters, sent, _ = node
    judging.subscribe("x", accepts)
    for number in range(2000):
        await judging.room(A)
        judging.arrived(A, "x", number.to_bytes(4, "big"))
    await trio.testing.wait_all_tasks_blocked()
    assert len(sent) == 2000
    assert counters.snapshot()["gossip_dropped"] == 0


async def test_what_was_dropped_is_judged_when_it_comes_again(autojump_clock, node):
    judging, _, sent, _ = node
    judging.subscribe("x", accepts)
    for number in range(300):
        judging.arrived(A, "x", b"%d" % number)
    judging.arrived(B, "x", b"299")
    await trio.testing.wait_all_tasks_blocked()
    assert ("x", b"299", frozenset([B])) in sent


async def test_a_judge_that_takes_too_long_ignores_the_message(autojump_clock, node):
    judging, counters, sent, _ = node

    async def sleeps(sender: PeerId, message: bytes) -> Verdict:
        await trio.sleep_forever()
        raise AssertionError

    judging.subscribe("x", sleeps)
    judging.arrived(A, "x", b"m")
    await trio.sleep(11)
    assert counters.snapshot()["gossip_judge_errors"] == 1
    assert not sent


async def test_all_who_sent_a_rejected_message_answer_for_it(autojump_clock, node):
    judging, counters, _, _ = node
    judging.subscribe("x", rejects)
    for sender in (A, B):
        judging.arrived(sender, "x", b"bad")
    await trio.testing.wait_all_tasks_blocked()
    judging.arrived(C, "x", b"bad")
    assert counters.snapshot()["gossip_rejected"] == 3


async def test_a_message_that_a_muted_neighbour_sent_first_is_judged_for_the_next(autojump_clock, node):
    judging, counters, sent, _ = node
    judging.subscribe("x", rejects)
    for number in range(20):
        judging.arrived(A, "x", b"bad %d" % number)
    judging.arrived(A, "x", b"good")
    await trio.testing.wait_all_tasks_blocked()
    judging.subscribe("x", accepts)
    judging.arrived(B, "x", b"good")
    await trio.testing.wait_all_tasks_blocked()
    assert sent == [("x", b"good", frozenset([B]))]
    assert counters.snapshot()["gossip_throttled"] > 0


async def test_an_oversize_message_counts_as_rejected(node):
    judging, counters, _, _ = node
    judging.subscribe("x", accepts)
    judging.arrived(A, "x", bytes(MAX_GOSSIP_BYTES + 1))
    assert counters.snapshot()["gossip_oversize"] == counters.snapshot()["gossip_rejected"] == 1


async def test_topics_are_few_and_have_short_names(node):
    judging = node[0]
    for name in ("", "x" * (MAX_TOPIC_BYTES + 1)):
        with pytest.raises(ValueError, match="name"):
            judging.subscribe(name, accepts)
    for number in range(MOST_TOPICS):
        judging.subscribe(str(number), accepts)
    judging.subscribe("0", rejects)
    with pytest.raises(ValueError, match="at most"):
        judging.subscribe("one more", accepts)


def test_few_messages_are_remembered_and_not_for_ever():
    seen = Seen()
    for number in range(MOST_SEEN + 100):
        seen.note(number.to_bytes(4, "big"), 0.0)
    assert len(seen) == MOST_SEEN
    newest = (MOST_SEEN + 99).to_bytes(4, "big")
    assert seen.find(newest, SEEN_SECONDS - 1) is not None
    assert seen.find(newest, SEEN_SECONDS) is None
