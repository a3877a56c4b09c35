"""The payer's machine and the provider's gate: work is paid once, to the unit, and only if it was signed for."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.ledger.receipts import LinkReceipt, SignedReceipt
from swarmd.protocols.work import amount_of
from swarmd.scheduler.funding import expected, lane_caps
from swarmd.scheduler.gate import Gate
from swarmd.scheduler.paying import Part, Payer
from swarmd.scheduler.witness import AHEAD, Course

ME = PeerId("12D3KooWpayer")
RUN = RunId("1" * 64)
PRICE, MICRO_BATCHES = 10**9, 3
FORWARD, BACKWARD = 7_001, 14_002
PLENTY = 10**12


def course(stages: int = 3, *, start: int = 0, steps: int = 10, pay_every: int = 4, term: int = 1) -> Course:
    return Course(
        run=RUN, term=term, cuts=tuple(range(0, 2 * stages + 1, 2)), micro_batches=MICRO_BATCHES,
        start=start, steps=steps, pay_every=pay_every,
    )  # fmt: skip


def parts(stages: int = 3, *, price: int = PRICE, cap: int = PLENTY, free: int = -1) -> list[Part]:
    paid = {"price": price, "lane": 1, "cap": cap}
    return [
        Part(
            peer=PeerId(f"12D3KooWpeer-{n}"), forward=FORWARD + n, backward=BACKWARD + n, **(paid if n != free else {})
        )
        for n in range(stages)
    ]


def windows(of: Course) -> list[tuple[int, int]]:
    return [(first, of.window(first)) for first in range(of.start + 1, of.steps + 1, of.pay_every)]


def signed(of: Course, stage: int, boundary: int, first: int, end: int, **changes: object) -> SignedReceipt:
    each = MICRO_BATCHES * (end - first)
    inside = 0 < boundary < of.cuts[-1]
    receipt = LinkReceipt(
        run=of.run, term=of.term, boundary=boundary, first_step=first, end_step=end,
        forwards=each, backwards=each if inside else 0, root=bytes([boundary]) * 32,
    )  # fmt: skip
    return SignedReceipt(replace(receipt, **changes), PeerId(f"12D3KooWpeer-{stage}") if stage >= 0 else ME, bytes(64))


Event = tuple[int, SignedReceipt]


def honest(of: Course, upto: int | None = None) -> list[Event]:
    """Every receipt of every end; the coordinator's own come from stage -1."""
    events: list[Event] = []
    for first, end in windows(of):
        if upto is None or end - 1 <= upto:
            for stage in range(of.stages):
                events += [(stage, signed(of, stage, cut, first, end)) for cut in of.cuts[stage : stage + 2]]
            events += [(-1, signed(of, -1, cut, first, end)) for cut in (0, of.cuts[-1])]
    return events


def hear(payer: Payer, *events: Event) -> list[str]:
    return [payer.receipted(stage, each) if stage >= 0 else payer.ours(each) for stage, each in events]


def pay(payer: Payer) -> list[int]:
    """Pay all that is due; the totals after it."""
    for due in payer.due():
        before = payer.total(due.stage)
        payer.paid(due)
        assert due.total == payer.total(due.stage) == before + due.amount
    assert payer.due() == ()
    return [payer.total(stage) for stage in range(3)]


def worth(part: Part, forwards: int, backwards: int) -> int:
    return amount_of(part.operations(forwards, backwards), part.price)


def test_a_whole_run_is_paid_to_the_unit() -> None:
    payer = Payer(course(), parts(), ME)
    assert set(hear(payer, *honest(course()))) == {""}
    assert pay(payer) == [worth(part, 30, 30) for part in parts()]


def test_one_stage_alone_is_paid_for_the_steps_it_reports() -> None:
    payer = Payer(course(1), parts(1), ME)
    hear(payer, *honest(course(1)))
    assert pay(payer)[0] == worth(parts(1)[0], 30, 30)


def test_a_voucher_says_what_it_pays() -> None:
    payer = Payer(course(), parts(), ME)
    hear(payer, *honest(course(), upto=4))
    middle = next(due for due in payer.due() if due.stage == 1)
    assert (middle.number, middle.forwards, middle.backwards) == (1, 12, 12)
    assert (middle.first_step, middle.end_step) == (1, 5)
    assert {one.receipt.boundary for one, _ in middle.evidence} == {2, 4}
    assert middle.operations == parts()[1].operations(12, 12)


@settings(max_examples=60, derandomize=True, deadline=None)
@given(seed=st.integers(0, 1 << 32), stages=st.integers(1, 3), pay_every=st.integers(1, 12), repeat=st.booleans())
def test_order_and_repetition_make_no_difference(seed: int, stages: int, pay_every: int, repeat: bool) -> None:
    of, chance = course(stages, pay_every=pay_every), random.Random(seed)
    events = honest(of) * (1 + repeat)
    chance.shuffle(events)
    payer = Payer(of, parts(stages), ME)
    for event in events:
        hear(payer, event)
        if chance.random() < 0.3:
            pay(payer)
    assert pay(payer)[:stages] == [worth(part, 30, 30) for part in parts(stages)]


@settings(max_examples=60, derandomize=True, deadline=None)
@given(
    seed=st.integers(0, 1 << 32),
    cap=st.integers(1, 2_000),
    lost=st.floats(0, 1),
    done=st.lists(st.integers(0, 10), min_size=3, max_size=3),
)
def test_never_more_than_the_cap_nor_than_was_signed_for(seed: int, cap: int, lost: float, done: list[int]) -> None:
    of, chance = course(), random.Random(seed)
    events = [event for event in honest(of) if chance.random() >= lost]
    payer = Payer(of, parts(cap=cap), ME)
    hear(payer, *events)
    before = pay(payer)
    both = agreed(of, events)
    for stage, part in enumerate(parts(cap=cap)):
        assert before[stage] == min(cap, worth(part, *both[stage]))
    payer.close(done)
    for stage, part in enumerate(parts(cap=cap)):
        most = max(*both[stage], MICRO_BATCHES * (max(done) + AHEAD))
        assert before[stage] <= pay(payer)[stage] <= min(cap, worth(part, most, most))


def agreed(of: Course, events: list[Event]) -> list[tuple[int, int]]:
    """(forwards, backwards) of each stage that both ends signed for."""
    ends = {(boundary, first): set() for boundary in of.cuts for first, _ in windows(of)}
    for stage, each in events:
        ends[each.receipt.boundary, each.receipt.first_step].add(stage)

    def signed_by_both(index: int) -> int:
        return sum(MICRO_BATCHES * (end - first) for first, end in windows(of) if len(ends[of.cuts[index], first]) == 2)

    crossed = [signed_by_both(index) for index in range(of.stages + 1)]
    last = of.stages - 1
    return [(crossed[stage] if stage == last else crossed[stage + 1], crossed[stage]) for stage in range(of.stages)]


def test_a_disagreement_pays_nothing_and_says_who_said_what() -> None:
    of = course()
    payer = Payer(of, parts(), ME)
    lie = (1, signed(of, 1, 4, 1, 5, root=bytes([9]) * 32))
    truth = [event for event in honest(of, upto=4) if (event[0], event[1].receipt.boundary) != (1, 4)]
    words = [said for said in hear(payer, *truth, lie) if said]
    assert len(words) == 1
    assert "steps 1 to 4" in words[0]
    assert "before layer 4" in words[0]
    assert "stage 1 (oWpeer-1)" in words[0]
    assert "09090909" in words[0]
    assert "04040404" in words[0]
    assert pay(payer) == [worth(parts()[0], 12, 12), worth(parts()[1], 0, 12), 0]
    hear(payer, (1, signed(of, 1, 4, 1, 5)))
    assert pay(payer)[2] == 0, "a lie is not taken back"


def test_a_disagreement_with_us_names_us() -> None:
    of = course(1)
    payer = Payer(of, parts(1), ME)
    said = hear(payer, (0, signed(of, 0, 0, 1, 5, root=bytes([9]) * 32)), (-1, signed(of, -1, 0, 1, 5)))
    assert "we (" in said[1]
    assert payer.due() == ()


@pytest.mark.parametrize(
    "changes",
    [
        {"run": RunId("2" * 64)},
        {"term": 2},
        {"boundary": 6},
        {"first_step": 2},
        {"first_step": 0},
        {"end_step": 9},
        {"end_step": 3, "forwards": 7},
        {"end_step": 3, "forwards": 1, "backwards": 7},
    ],
)
def test_what_a_stage_cannot_sign_is_a_violation(changes: dict[str, object]) -> None:
    right = signed(course(), 1, 2, 1, 5)
    with pytest.raises(ProtocolViolation):
        Payer(course(), parts(), ME).receipted(1, replace(right, receipt=replace(right.receipt, **changes)))


def test_a_stage_that_is_free_is_never_paid_but_its_word_counts() -> None:
    payer = Payer(course(), parts(free=1), ME)
    hear(payer, *honest(course()))
    assert pay(payer) == [worth(parts()[0], 30, 30), 0, worth(parts()[2], 30, 30)]


def broken_off(done: list[int], *, dead: int) -> Payer:
    """Stages 0 to 2 at these steps when one of them dies; the others sign for what crossed."""
    of = course(pay_every=4)
    payer = Payer(of, parts(), ME)
    hear(payer, *honest(of, upto=min(done)))
    first = min(done) // 4 * 4 + 1
    for stage in {0, 1, 2} - {dead}:
        for cut in of.cuts[stage : stage + 2]:
            steps = done[stage] + 1 - first
            if steps:
                counts = {"forwards": 3 * steps, "backwards": 3 * steps if 0 < cut < 6 else 0}
                hear(payer, (stage, signed(of, stage, cut, first, done[stage] + 1, **counts)))
    for stage, cut in ((0, 0), (2, 6)):
        steps = done[stage] + 1 - first
        if steps:
            hear(payer, (-1, signed(of, -1, cut, first, done[stage] + 1, forwards=3 * steps, backwards=0)))
    payer.close(done)
    payer.close(done)
    return payer


def test_a_stage_that_dies_is_paid_for_what_its_neighbours_witness() -> None:
    assert pay(broken_off([6, 6, 7], dead=1)) == [worth(parts()[0], 18, 18), worth(parts()[1], 21, 18),
                                                  worth(parts()[2], 18, 18)]  # fmt: skip


def test_a_dead_neighbours_reports_are_its_word() -> None:
    """Stage 1 had committed 6 steps, so it had stage 2's gradients to step 6, though it signed for none after 4."""
    assert pay(broken_off([6, 6, 6], dead=1))[2] == worth(parts()[2], 18, 18)


def test_nobody_is_paid_twice_by_the_end_of_a_run() -> None:
    of = course()
    payer = Payer(of, parts(), ME)
    hear(payer, *honest(of))
    payer.close([10, 10, 10])
    assert hear(payer, *honest(of))[0] == ""
    assert pay(payer) == [worth(part, 30, 30) for part in parts()]


def test_after_its_last_word_an_end_has_no_other() -> None:
    of = course()
    payer = Payer(of, parts(), ME)
    part_of = {"forwards": 5, "backwards": 2}
    hear(payer, (2, signed(of, 2, 4, 1, 4, **part_of)), *honest(of))
    assert pay(payer)[2] == 0
    payer.close([10, 10, 10])
    assert pay(payer)[1] == worth(parts()[1], 5, 30)


def test_a_last_word_is_worth_no_more_than_can_have_crossed() -> None:
    of = course()
    payer = Payer(of, parts(), ME)
    hear(payer, (2, signed(of, 2, 4, 1, 7)))
    payer.close([0, 0, 1])
    assert pay(payer)[1] == worth(parts()[1], MICRO_BATCHES * (1 + AHEAD), 0)


def test_a_resumed_run_is_paid_for_its_new_steps_on_new_lanes() -> None:
    of = course(start=6, term=2)
    payer = Payer(of, parts(), ME)
    with pytest.raises(ProtocolViolation):
        payer.receipted(0, signed(of, 0, 0, 1, 5))
    with pytest.raises(ProtocolViolation):
        payer.receipted(0, signed(of, 0, 2, 7, 11, term=1))
    hear(payer, *honest(of))
    assert pay(payer) == [worth(part, 12, 12) for part in parts()]


def test_work_worth_less_than_a_unit_waits() -> None:
    payer = Payer(course(), parts(price=1), ME)
    hear(payer, *honest(course()))
    assert payer.due() == ()
    assert payer.total(0) == payer.total(7) == 0


def test_many_receipts_share_one_voucher_but_its_size_is_bounded() -> None:
    of = course(steps=100, pay_every=1)
    payer = Payer(of, parts(), ME)
    hear(payer, *honest(of))
    assert all(len(due.evidence) == 32 for due in payer.due())
    assert pay(payer) == [worth(part, 300, 300) for part in parts()]


def test_what_comes_while_a_voucher_is_written_is_paid_by_the_next() -> None:
    of = course()
    payer = Payer(of, parts(), ME)
    hear(payer, *honest(of, upto=4))
    first = payer.due()[0]
    hear(payer, *honest(of, upto=8))
    payer.paid(first)
    second = payer.due()[0]
    assert (second.number, second.first_step, second.end_step) == (2, 5, 9)
    assert second.operations == first.operations


# --- lanes and the gate


@settings(max_examples=100, derandomize=True, deadline=None)
@given(amounts=st.lists(st.integers(1, 10**9), min_size=1, max_size=8), spare=st.integers(0, 10**9))
def test_lanes_hold_a_tenth_more_than_is_expected_within_the_budget(amounts: list[int], spare: int) -> None:
    left = sum(amounts) + spare
    caps = lane_caps(amounts, left)
    assert sum(caps) <= left
    assert all(amount <= cap <= amount + amount // 10 + 1 for amount, cap in zip(amounts, caps, strict=True))
    with pytest.raises(Refused, match="left of the budget"):
        lane_caps(amounts, sum(amounts) - 1)


def test_a_lane_is_never_empty() -> None:
    assert expected(0, 5) == 1
    assert expected(10**12, 5) == 5


@given(total=st.integers(0, 10**12), operations=st.integers(1, 10**14), price=st.integers(1, 10**9))
def test_a_total_covers_exactly_the_steps_it_pays_for(total: int, operations: int, price: int) -> None:
    gate = Gate(price=price, operations=operations, start=3, max_unpaid=5)
    covered = gate.covered(total)
    assert gate.owed(covered) <= total < gate.owed(covered + 1)


def test_a_provider_stops_when_too_many_steps_are_unpaid_for_too_long() -> None:
    gate = Gate(price=10**6, operations=10**12, start=10, max_unpaid=6)
    assert gate.refusal(16, 0, 99.0) == ""
    assert gate.refusal(17, 0, 4.9) == ""
    assert "steps to 17 are worth 7 credits" in gate.refusal(17, 0, 5.0)
    assert gate.refusal(17, 10**6, 99.0) == ""
