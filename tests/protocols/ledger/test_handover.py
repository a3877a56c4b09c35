"""From one committee to the next: by the operator's word, over a quorum that stopped, bound by what it reports."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.entry import LaneFund, LaneOpen, LaneSettle, Pay
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.ledger.handover import (
    CommitteeChange,
    LaneMark,
    Report,
    Succession,
    parse_report,
    report_hash,
    sign_change,
)
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.validator import adopt, merge_marks
from swarmd.protocols.ledger.votes import ClaimVote, CloseCertificate, CloseVote, EntryVote
from tests.protocols.keys import who
from tests.protocols.ledger.world import (
    LIMITS,
    NOTHING,
    NOW,
    OPERATOR,
    RUN,
    Owner,
    Validator,
    World,
    members,
)

EXPIRES = int(NOW) + 500
LATE = EXPIRES + LIMITS.grace_seconds


@pytest.fixture
def world() -> World:
    """Committee 0 is 1 to 4; Ann has a lane of 1000 for Ben."""
    world = World()
    ann, ben, _ = world.owners
    world.certified(ann, LaneOpen(RUN, ben.peer, 1000, EXPIRES))
    return world


def handed_over(world: World, among: list[Validator] | None = None) -> tuple[Succession, tuple[Report, ...]]:
    """Committee 0 hands over to 3 to 6."""
    return world.hand_over(world.change(3, 4, 5, 6), among or world.validators[:3])


def newcomer(
    world: World, succession: Succession, reports: tuple[Report, ...], now: float = NOW, number: int = 5
) -> Validator:
    """This member begins."""
    member = Validator(who(number), world.genesis)
    for account in world.replica.accounts():
        member.take_head(world.replica.head(account).raw, now)
    member.take_over(succession, reports, now)
    return member


def test_a_quorum_of_handovers_makes_the_next_committee(world):
    succession, _ = handed_over(world)
    committee = world.replica.offer_succession(succession)
    assert committee == world.replica.committee == Committee(1, members(3, 4, 5, 6))
    assert world.replica.successions == (succession,)
    assert world.replica.offer_succession(succession) is None
    restarted = Replica(world.genesis)
    assert restarted.add_committee(succession) == committee
    assert restarted.committees == world.replica.committees


def test_who_handed_over_votes_no_more(world):
    ann, ben, _ = world.owners
    handed_over(world)
    signed, state = ann.draft(Pay(ben.peer, 1))
    asked = AskCloseVote(ann.peer, 1, b"", b"")
    for ask in (
        lambda each: each.vote_entry(signed, state, NOTHING),
        lambda each: each.vote_claim(ann.voucher(1, ben.peer, 1)),
        lambda each: each.vote_close(asked, LATE),
        lambda each: each.vote_maturity(ann.peer, 1, LATE),
    ):
        with pytest.raises(NotYet, match="handed committee 0 over"):
            ask(world.validators[0])
    assert world.validators[3].vote_entry(signed, state, NOTHING)


def test_committees_follow_one_by_one(world):
    first, _ = handed_over(world)
    later = CommitteeChange(2, Committee(1, members(3, 4, 5, 6)).hash, members(7))
    second = replace(first, change=sign_change(later, world.network, OPERATOR.peer, OPERATOR.sign))
    with pytest.raises(NotYet, match="committee 2 follows committee 1, which is not known here yet"):
        world.replica.offer_succession(second)


def test_a_network_without_credits_has_no_committees(world):
    succession, _ = handed_over(world)
    with pytest.raises(ProtocolViolation, match="without credits"):
        Replica(Genesis(name="home", salt=b"")).offer_succession(succession)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ("too few", "without handovers of a quorum"),
        ("a stranger", "no member"),
        ("another change", "to another change"),
        ("forged", "does not hold"),
        ("not the operator", "another than the network's operator"),
        ("another committee before", "does not follow"),
    ],
)
def test_a_succession_needs_the_operator_and_a_quorum(world, wrong, words):
    good, _ = handed_over(world)
    handovers = list(good.handovers)
    change = good.change
    if wrong == "too few":
        handovers.pop()
    elif wrong == "a stranger":
        handovers.append(Validator(who(50), world.genesis).hand_over(change)[0])
    elif wrong == "another change":
        change = world.change(4, 5, 6)
    elif wrong == "forged":
        handovers[0] = replace(handovers[0], signature=bytes(64))
    else:
        key = who(1) if wrong == "not the operator" else OPERATOR
        before = world.replica.committee.hash if key is not OPERATOR else bytes(32)
        change = sign_change(CommitteeChange(1, before, members(3)), world.network, key.peer, key.sign)
    handovers.sort(key=lambda each: each.member)
    with pytest.raises(ProtocolViolation, match=words):
        world.replica.offer_succession(Succession(change, tuple(handovers)))


def test_the_new_members_vote_for_no_other_entry_than_was_reported(world):
    ann, ben, cid = world.owners
    voted, hidden = ann.draft(Pay(ben.peer, 1)), ann.draft(Pay(cid.peer, 1))
    world.validators[0].vote_entry(*voted, NOTHING)
    member = newcomer(world, *handed_over(world))
    with pytest.raises(Refused, match="its owner signed two"):
        member.vote_entry(*hidden, NOTHING)
    assert member.vote_entry(*voted, NOTHING).vote == EntryVote(1, ann.peer, 2, voted[0].id)


def behind(world: World, heads: tuple[bytes, ...], among: list[Validator], now: float = NOW) -> Validator:
    """Member 5 begins with these heads only, and the reports of these members."""
    member = Validator(who(5), world.genesis)
    for raw in heads:
        member.take_head(raw, now)
    member.take_over(*handed_over(world, among), now)
    return member


def test_new_members_that_lag_behind_vote_for_no_other_entry_than_was_certified(world):
    ann, ben, cid = world.owners
    before, rival = world.replica.head(ann.peer).raw, ann.draft(Pay(cid.peer, 1))
    certified = world.certified(ann, Pay(ben.peer, 1))
    member = behind(world, (before,), world.validators[:3])
    with pytest.raises(Refused, match="its owner signed two"):
        member.vote_entry(*rival, NOTHING)
    signed, state = ann.draft(Pay(ben.peer, 2))
    assert member.vote_entry(signed, state, Evidence(heads=(certified.raw,))).vote.committee == 1


def test_a_reported_entry_stands_for_all_before_it(world):
    """The member that reports has forgotten what it voted for below: the certified entry is above that."""
    ann, ben, cid = world.owners
    before, rival = world.replica.head(ann.peer).raw, ann.draft(Pay(cid.peer, 1))
    world.certified(ann, Pay(ben.peer, 1))
    world.certified(ann, Pay(ben.peer, 2))
    for each in world.validators:
        each.disk.entries.clear()
    member = behind(world, (before,), world.validators[:3])
    with pytest.raises(NotYet, match=r"entry 3 of .* was reported"):
        member.vote_entry(*rival, NOTHING)


def test_what_was_reported_counts_even_against_our_own_vote(world):
    """The other entry may be certified, and in the next committee our vote may weigh more."""
    ann, ben, cid = world.owners
    one, two = ann.draft(Pay(ben.peer, 1)), ann.draft(Pay(cid.peer, 1))
    *others, last = world.validators
    for each in others:
        each.vote_entry(*one, NOTHING)
    last.vote_entry(*two, NOTHING)
    last.take_over(*handed_over(world, others))
    for entry in (one, two):
        with pytest.raises(Refused, match="its owner signed two"):
            last.vote_entry(*entry, NOTHING)


def test_reports_pass_on_what_was_reported(world):
    ann, ben, cid = world.owners
    voted, rival = ann.draft(Pay(ben.peer, 1)), ann.draft(Pay(cid.peer, 1))
    released = AskCloseVote(ann.peer, 1, ben.release(ann.peer, 1, 700), ann.voucher(1, ben.peer, 700))
    for each in world.validators[:3]:
        each.vote_entry(*voted, NOTHING)
        each.vote_close(released)
    first, reports = handed_over(world)
    second = [newcomer(world, first, reports, number=each) for each in (3, 5, 6)]
    world.replica.offer_succession(first)
    later = Validator(who(7), world.genesis)
    later.take_head(world.replica.head(ann.peer).raw, NOW)
    later.take_over(first, (), NOW)
    later.take_over(*world.hand_over(world.change(7), second))
    with pytest.raises(Refused, match="its owner signed two"):
        later.vote_entry(*rival, NOTHING)
    with pytest.raises(Refused, match="was closed here"):
        later.vote_claim(ann.voucher(1, ben.peer, 900))
    assert later.vote_close(AskCloseVote(ann.peer, 1, b"", b"")).vote == CloseVote(2, ann.peer, 1, 700)


def test_a_reported_voucher_above_the_lanes_cap_closes_it_at_the_cap(world):
    ann, ben, _ = world.owners
    world.validators[0].disk.marks[ann.peer, 1] = LaneMark(
        ann.peer, 1, 9999, ann.voucher(1, ben.peer, 9999), False, b""
    )
    succession, reports = handed_over(world)
    asked, owner = AskCloseVote(ann.peer, 1, b"", b""), Owner(ann.who, world.genesis, ann.seq, ann.prev)
    owner.state = ann.state
    new = [Validator(who(each), world.genesis) for each in (3, 4, 5)]
    for each in new:
        each.take_head(world.replica.head(ann.peer).raw, NOW)
        each.take_over(succession, reports)
    votes = sorted((each.vote_close(asked, LATE) for each in new), key=lambda vote: vote.member)
    evidence = Evidence(closes=(CloseCertificate(tuple(votes)),))
    for each in new:
        assert each.vote_entry(*owner.draft(LaneSettle(1, 1000)), evidence)
        with pytest.raises(Refused):
            each.vote_entry(*owner.draft(LaneSettle(1, 999)), evidence)


def test_two_reported_entries_of_one_number_are_a_fork(world):
    ann, ben, cid = world.owners
    world.validators[0].vote_entry(*ann.draft(Pay(ben.peer, 1)), NOTHING)
    world.validators[1].vote_entry(*ann.draft(Pay(cid.peer, 1)), NOTHING)
    member = newcomer(world, *handed_over(world))
    assert member.replica.frozen(ann.peer)


def test_reported_entries_that_are_certified_or_forged_bind_nobody(world):
    ann, ben, _ = world.owners
    world.validators[0].vote_entry(*ann.draft(Pay(ben.peer, 1)), NOTHING)
    _, (report, *_) = handed_over(world, world.validators[:1])
    certified, raw = report.entries
    assert certified == world.replica.head(ann.peer).signed.raw
    assert adopt(world.replica, (report, report), NOW).entries
    assert not adopt(world.replica, (Report((raw[:-1] + bytes([raw[-1] ^ 1]), b"?"), ()),), NOW).entries
    for each in world.validators:
        each.disk.votes.clear()
    world.certified(ann, Pay(ben.peer, 1))
    assert not adopt(world.replica, (report,), NOW).entries


def test_votes_from_before_a_handover_still_certify(world):
    ann, ben, _ = world.owners
    signed, state = ann.write(Pay(ben.peer, 1))
    head = make_head(signed, state, world.certificate(Validator.vote_entry, signed, state, NOTHING))
    member = newcomer(world, *handed_over(world))
    member.take_head(head.raw, NOW)
    assert member.replica.head(ann.peer) == head
    assert member.vote_entry(*ann.draft(Pay(ben.peer, 1)), NOTHING).vote.committee == 1


def test_the_highest_reported_claim_counts_for_the_new_members(world):
    ann, ben, _ = world.owners
    for member, total in zip(world.validators, (100, 300, 200), strict=False):
        member.vote_claim(ann.voucher(1, ben.peer, total))
    member = newcomer(world, *handed_over(world))
    assert member.vote_close(AskCloseVote(ann.peer, 1, b"", b""), LATE).vote == CloseVote(1, ann.peer, 1, 300)


def test_a_lane_that_was_closed_by_a_release_stays_closed(world):
    ann, ben, _ = world.owners
    asked = AskCloseVote(ann.peer, 1, ben.release(ann.peer, 1, 700), ann.voucher(1, ben.peer, 700))
    world.validators[0].vote_close(asked)
    member = newcomer(world, *handed_over(world))
    with pytest.raises(Refused, match="was closed here"):
        member.vote_claim(ann.voucher(1, ben.peer, 900))
    assert member.vote_close(AskCloseVote(ann.peer, 1, b"", b"")).vote == CloseVote(1, ann.peer, 1, 700)


def test_a_closing_without_a_release_counts_by_our_own_clock(world):
    ann, ben, _ = world.owners
    mark = LaneMark(ann.peer, 1, 0, b"", True, b"")
    lie = (Report((), (mark,)),)
    assert not adopt(world.replica, lie, NOW).lanes[ann.peer, 1].closed
    assert adopt(world.replica, lie, LATE).lanes[ann.peer, 1].closed
    world.validators[0].disk.marks[ann.peer, 1] = mark
    member = newcomer(world, *handed_over(world))
    assert member.vote_claim(ann.voucher(1, ben.peer, 900)).vote == ClaimVote(1, ann.peer, 1, 900)


def test_a_close_certificate_from_before_still_settles(world):
    ann, _, _ = world.owners
    close = world.close(AskCloseVote(ann.peer, 1, b"", b""), LATE)
    member = newcomer(world, *handed_over(world), LATE)
    assert member.vote_entry(*ann.draft(LaneSettle(1, 0)), Evidence(closes=(close,)))


def test_reported_marks_that_do_not_hold_bind_nobody(world):
    ann, ben, _ = world.owners
    voucher, release = ann.voucher(1, ben.peer, 300), ben.release(ann.peer, 1, 300)
    good = LaneMark(ann.peer, 1, 300, voucher, True, release)
    wrong = [
        replace(good, highest=301),
        replace(good, highest=0),
        replace(good, voucher=b""),
        replace(good, voucher=ben.voucher(1, ann.peer, 300)),
        replace(good, release=ben.release(ann.peer, 1, 301)),
        replace(good, release=ben.release(ann.peer, 2, 300)),
        replace(good, release=b"?"),
    ]
    for mark in wrong:
        assert not adopt(world.replica, (Report((), (mark,)),), NOW).lanes
    lanes = adopt(world.replica, (Report((), (*wrong, good)),), NOW).lanes
    assert lanes == {(ann.peer, 1): good}


def test_reported_marks_that_bind_to_nothing_are_kept_nowhere(world):
    """No signature says that there is such a lane, nor that its number is one that a file holds."""
    marks = tuple(
        LaneMark("nobody", lane, 0, b"", closed, b"") for lane in (-1, 9, 1 << 63) for closed in (True, False)
    )
    assert not adopt(world.replica, (Report((), marks),), NOW).lanes


def test_a_release_binds_only_if_the_lanes_provider_gave_it_as_far_as_the_lane_is_known(world):
    ann, _, cid = world.owners
    mark = LaneMark(ann.peer, 1, 0, b"", True, cid.release(ann.peer, 1, 0))
    assert not adopt(world.replica, (Report((), (mark,)),), NOW).lanes
    unknown = LaneMark(ann.peer, 9, 0, b"", True, cid.release(ann.peer, 9, 0))
    assert adopt(world.replica, (Report((), (unknown,)),), NOW).lanes[ann.peer, 9].closed


def test_a_settled_lane_needs_no_mark(world):
    ann, ben, _ = world.owners
    asked = AskCloseVote(ann.peer, 1, ben.release(ann.peer, 1, 0), b"")
    world.certified(ann, LaneFund(1, 1))
    world.certified(ann, LaneSettle(1, 0), evidence=Evidence(closes=(world.close(asked),)))
    mark = LaneMark(ann.peer, 1, 0, b"", True, b"")
    assert not adopt(world.replica, (Report((), (mark,)),), NOW).lanes


def test_two_marks_of_one_lane_make_one():
    ann = who(1).peer
    low = LaneMark(ann, 1, 100, b"v100", True, b"released")
    high = LaneMark(ann, 1, 200, b"v200", False, b"")
    assert merge_marks(low, high) == merge_marks(high, low) == LaneMark(ann, 1, 200, b"v200", True, b"released")
    assert merge_marks(high, high) == high


def test_a_report_is_named_by_its_hash(world):
    ann, ben, _ = world.owners
    world.validators[0].vote_claim(ann.voucher(1, ben.peer, 100))
    succession, reports = handed_over(world)
    by_hash = {each.report: each.member for each in succession.handovers}
    assert {report_hash(report.to_bytes()) for report in reports} == set(by_hash)
    assert [parse_report(report.to_bytes()) for report in reports] == list(reports)
