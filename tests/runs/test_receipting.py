"""Both ends of a boundary note what crossed, each for itself, and come to the same receipt."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.identity import identity_of
from swarmd.network import MAIN
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.receipts import Crossing, SignedReceipt, check_receipt, crossings_root
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.runs import receipting
from swarmd.runs.receipting import OpenEnd, Reach, Receipting, Signer
from tests.protocols.specs import SPEC

REACH = Reach(run=RunId("1" * 64), spec=SPEC.spec_id, term=1, micro_batches=3, start=0, steps=6, pay_every=4)
LEFT, RIGHT = identity_of(bytes([1]) * 32), identity_of(bytes([2]) * 32)


def signer(who: object = LEFT, **changes: int) -> Signer:
    return Signer(replace(REACH, **changes), MAIN.id, who)  # type: ignore[arg-type]


def left() -> Receipting:
    return Receipting(signer(LEFT), (0, 2), 4)


def right() -> Receipting:
    return Receipting(signer(RIGHT), (2, 4), 4)


def frame(step: int, micro_batch: int, direction: Direction, boundary: int = 2) -> FrameHeader:
    root = bytes([step, micro_batch, direction, boundary]) * 8
    key = FrameKey(REACH.run, 1, step, micro_batch, boundary, int(direction))
    return FrameHeader(FRAME_VERSION, key, 1, step - 1, "raw", "float32", (64, 8), root)


def crossing(header: FrameHeader) -> Crossing:
    key = header.key
    return Crossing(key.step, key.micro_batch, key.direction, key.attempt, header.root)


def frames(step: int) -> list[FrameHeader]:
    """All of one step, forward and backward."""
    return [frame(step, n, way) for way in (Direction.FORWARD, Direction.BACKWARD) for n in range(3)]


async def through(member: Receipting, upto: int, *, backwards: bool = False) -> list[SignedReceipt]:
    """A member's receipts when it has committed these steps; frames may come in any order."""
    signed: list[SignedReceipt] = []
    for step in range(1, upto + 1):
        for header in frames(step)[:: -1 if backwards else 1]:
            member.note(header)
        signed += await member.stepped(step, f"{step}.5")
    return signed


async def test_both_ends_sign_the_same_whatever_came_first() -> None:
    ours, theirs = await through(left(), 6), await through(right(), 6, backwards=True)
    link = [each for each in ours if each.receipt.boundary == 2]
    assert [each.receipt for each in link] == [each.receipt for each in theirs if each.receipt.boundary == 2]
    assert [(each.receipt.first_step, each.receipt.end_step) for each in link] == [(1, 5), (5, 7)]
    assert [(each.receipt.forwards, each.receipt.backwards) for each in link] == [(12, 12), (6, 6)]
    crossed = [crossing(header) for step in range(1, 5) for header in frames(step)]
    assert link[0].receipt.root == crossings_root(crossed)
    for each in (*ours, *theirs):
        check_receipt(each, MAIN.id)


async def test_at_an_open_end_the_coordinator_signs_what_it_was_told() -> None:
    ours, theirs = await through(left(), 6), await through(right(), 6)
    head, tail = OpenEnd(0, signer(RIGHT)), OpenEnd(4, signer(LEFT))
    heads = [head.stepped(step, None) for step in range(1, 7)]
    tails = [tail.stepped(step, f"{step}.5") for step in range(1, 7)]
    assert [each.receipt for each in ours if each.receipt.boundary == 0] == [e.receipt for e in heads if e]
    assert [each.receipt for each in theirs if each.receipt.boundary == 4] == [e.receipt for e in tails if e]
    other = OpenEnd(4, signer(LEFT))
    lies = [other.stepped(step, "0.1") for step in range(1, 5)]
    assert lies[3] is not None
    assert tails[3] is not None
    assert lies[3].receipt.root != tails[3].receipt.root


async def test_a_run_that_breaks_is_signed_for_as_far_as_it_came() -> None:
    member = left()
    signed = await through(member, 5)
    for header in frames(6)[:4]:
        member.note(header)
    assert len(signed) == 2
    last = {each.receipt.boundary: each.receipt for each in await member.last()}
    assert (last[2].first_step, last[2].end_step, last[2].forwards, last[2].backwards) == (5, 7, 6, 4)
    assert (last[0].first_step, last[0].end_step, last[0].forwards) == (5, 6, 3)
    member.note(frames(6)[4])
    assert await member.last() == ()
    assert await member.stepped(6, None) == ()


async def test_frames_of_steps_that_the_loop_has_not_heard_of_are_noted_too() -> None:
    """Frames pass in threads; word of a commit may wait in the loop for several steps."""
    member = left()
    for step in range(1, 7):
        for header in frames(step):
            member.note(header)
        member.committed(step)
    signed = [each for step in range(1, 7) for each in await member.stepped(step, None)]
    links = [each.receipt for each in signed if each.receipt.boundary == 2]
    assert [(each.forwards, each.backwards) for each in links] == [(12, 12), (6, 6)]


async def test_nothing_crossed_is_nothing_to_sign() -> None:
    assert await left().last() == ()
    member = left()
    await through(member, 6)
    assert await member.last() == ()


async def test_what_no_honest_neighbour_sends_takes_no_room() -> None:
    member = left()
    for header in (frame(9, 0, Direction.FORWARD), frame(1, 0, Direction.EVALUATE), frame(1, 0, Direction.FORWARD, 3)):
        member.note(header)
    for _ in range(50):
        member.note(frame(1, 0, Direction.FORWARD))
    (link,) = (each for each in await member.last() if each.receipt.boundary == 2)
    assert link.receipt.forwards == 6


async def test_steps_that_take_long_to_hash_are_hashed_in_a_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    here = await through(left(), 4)
    monkeypatch.setattr(receipting, "INLINE_CROSSINGS", 0)
    assert await through(left(), 4) == here
