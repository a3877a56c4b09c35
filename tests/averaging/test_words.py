"""What a member and a leader make of words that come late, twice, or from somebody dishonest."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.averaging import (
    MAX_REASON,
    MESSAGES,
    Abort,
    Begin,
    Commit,
    Complaint,
    Drop,
    Have,
    Orphan,
    Outcome,
    Ready,
    Redo,
    Result,
    RoundPlan,
    Seat,
    Seen,
)
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.scheduler.averaging_actions import Adopt, Fail, SendPart, Sum, Tell
from swarmd.scheduler.averaging_leader import AVERAGING, COMMITTED, FAILED, FORMING, Leader
from swarmd.scheduler.averaging_member import CONFIRMING, ORPHANED, Member
from tests.averaging.model import PATIENCE, plan_of

PLAN = plan_of([1, 1, 1])
NAME = PLAN.name()
BEGIN = Begin(NAME, (0, 1, 2), (0, 1, 2))
ALL = (0, 1, 2)
OUTCOMES = tuple(Outcome(owner, 0, ALL, bytes([owner]) * 32) for owner in ALL)
COMMIT = Commit(NAME, ALL, OUTCOMES, ())
OTHER = replace(COMMIT, suspects=(2,))


def member(place: int = 1) -> Member:
    """In the middle of a round."""
    begun = Member(PLAN, place, PATIENCE, 0.0)
    begun.start()
    begun.heard(0, BEGIN, 0.0)
    return begun


def holding(place: int = 1) -> Member:
    """Holds every result."""
    one = member(place)
    for owner in ALL:
        if owner == place:
            for other in set(ALL) - {place}:
                one.part_came(owner, 0, other)
            one.summed(owner, 0, ALL, OUTCOMES[owner].digest)
        else:
            one.heard(owner, Result(NAME, owner, 0, ALL), 0.0)
            one.result_came(owner, 0, OUTCOMES[owner].digest)
    return one


def leading() -> Leader:
    """Everybody is ready."""
    leader = Leader(PLAN, PATIENCE, 0.0)
    for place in ALL:
        leader.heard(place, Ready(NAME), 0.0)
    return leader


def reasons(actions: list) -> list[str]:
    return [action.reason for action in actions if isinstance(action, Fail)]


def adopts(actions: list) -> bool:
    return any(isinstance(action, Adopt) for action in actions)


@pytest.mark.parametrize(
    "wrong",
    [
        {"seats": ()},
        {"seats": PLAN.seats[::-1]},
        {"seats": (replace(PLAN.seats[0], weight=-1),)},
        {"seats": (Seat(PeerId("a"), 0, 1),)},
        {"seats": (Seat(PeerId("a"), 1, 0),)},
        {"values": 0},
        {"term": -1},
        {"number": 1 << 40},
    ],
)
def test_a_round_that_nobody_can_hold_is_refused(wrong):
    with pytest.raises(ValueError, match=r"round|weights"):
        replace(PLAN, **wrong)


def test_slices_cover_every_value_once_and_follow_the_shares():
    plan = plan_of([1, 1, 1], [1, 0, 3])
    assert [(part.first, part.end, part.owner) for part in plan.slices()] == [(0, 2496, 0), (2496, 10_000, 2)]


def test_messages_travel_and_long_reasons_do_not():
    assert MESSAGES.decode(MESSAGES.encode(Seen(NAME, COMMIT))) == Seen(NAME, COMMIT)
    with pytest.raises(ValueError, match="at most"):
        Abort(NAME, "x" * (MAX_REASON + 1))


@pytest.mark.parametrize(
    ("sender", "message"),
    [
        (2, BEGIN),
        (0, BEGIN),
        (0, Ready(NAME)),
        (0, Redo(NAME, 9, 1, 0)),
        (0, Redo(NAME, 0, 5, 0)),
        (2, Result(NAME, 9, 0, ALL)),
        (2, Result(NAME, 2, 0, ())),
        (2, Result(NAME, 2, 0, (1, 1))),
        (2, Result(NAME, 2, 0, (1, 77))),
    ],
)
def test_a_member_refuses_what_no_honest_one_says(sender, message):
    with pytest.raises(ProtocolViolation):
        member().heard(sender, message, 0.0)


def test_a_result_that_nobody_announced_or_that_cannot_be_is_complained_of():
    complaint = [Tell(0, Complaint(NAME, 2, 0))]
    assert member().result_came(2, 0, b"x" * 32) == complaint
    one = member()
    one.heard(2, Result(NAME, 2, 0, ALL), 0.0)
    assert one.result_came(2, 0, None) == complaint


def test_what_is_of_another_attempt_is_left_alone():
    one = member()
    assert one.part_came(1, 3, 0) == []
    assert one.summed(1, 3, ALL, b"") == []
    assert one.result_came(2, 3, b"") == []
    assert holding().heard(0, COMMIT, 0.0)


def test_an_owner_without_any_finite_values_says_so():
    assert member().summed(1, 0, (), b"") == [Tell(0, Complaint(NAME, 1, 0))]


def test_an_owner_sums_what_is_whole_when_its_time_is_over():
    one = member()
    one.part_came(1, 0, 2)
    assert one.wake_at() == PATIENCE.gather
    assert one.tick(PATIENCE.gather) == [Sum(1, 0, (1, 2))]
    assert one.tick(PATIENCE.gather) == []
    assert one.wake_at() == PATIENCE.whole


def test_an_owner_waits_no_longer_for_whom_the_leader_dropped():
    one = member()
    one.part_came(1, 0, 0)
    assert one.heard(0, Drop(NAME, 2), 1.0) == [Sum(1, 0, (0, 1))]


def test_whoever_aborts_is_waited_for_no_longer():
    one = member()
    one.part_came(1, 0, 0)
    assert Sum(1, 0, (0, 1)) in one.heard(2, Abort(NAME, "no"), 1.0)


def test_the_leaders_abort_ends_the_round():
    assert reasons(member().heard(0, Abort(NAME, "why"), 0.0)) == ["why"]


def test_a_slice_given_to_a_lost_member_is_complained_of():
    one = member()
    one.lost(2, 0.0)
    assert one.lost(2, 0.0) == []
    assert Tell(0, Complaint(NAME, 0, 1)) in one.heard(0, Redo(NAME, 0, 1, 2), 0.0)
    assert SendPart(2, 1, 0) in one.heard(0, Redo(NAME, 2, 1, 0), 0.0)


def test_a_member_adopts_when_the_others_saw_the_same():
    one = holding()
    one.heard(0, COMMIT, 0.0)
    assert one.state == CONFIRMING
    assert one.heard(0, COMMIT, 0.0) == []
    assert one.heard(0, Redo(NAME, 0, 1, 1), 0.0) == []
    assert not adopts(one.heard(0, Seen(NAME, COMMIT), 0.0))
    assert adopts(one.heard(2, Seen(NAME, COMMIT), 0.0))
    assert one.heard(2, Seen(NAME, OTHER), 0.0) == []
    assert one.tick(1000.0) == []


def test_a_member_waits_for_the_silent_only_so_long():
    one = holding()
    one.heard(0, COMMIT, 3.0)
    assert one.wake_at() == 3.0 + PATIENCE.confirm
    assert adopts(one.tick(3.0 + PATIENCE.confirm))


def test_two_different_commits_are_never_adopted():
    for order in ((0, Seen(NAME, OTHER)), (2, Seen(NAME, OTHER)), (0, OTHER)):
        one = holding()
        one.heard(0, COMMIT, 0.0)
        assert "different results" in reasons(one.heard(*order, 0.0))[0]
    early = holding()
    early.heard(2, Seen(NAME, OTHER), 0.0)
    assert "different results" in reasons(early.heard(0, COMMIT, 0.0))[0]


def test_a_member_that_is_not_in_the_commit_knows_it():
    assert "left us out" in reasons(holding().heard(0, replace(COMMIT, members=(0, 2)), 0.0))[0]


def test_after_the_leader_another_ones_commit_counts():
    one = holding()
    one.lost(0, 1.0)
    assert one.state == ORPHANED
    one.heard(2, Seen(NAME, COMMIT), 1.0)
    assert one.state == CONFIRMING or one.over
    early = holding()
    early.heard(2, Seen(NAME, COMMIT), 1.0)
    assert adopts(early.lost(0, 1.0))


def test_without_leader_and_commit_everybody_fails():
    one = holding()
    one.lost(0, 1.0)
    assert reasons(one.heard(2, Orphan(NAME), 1.0)) == ["the leader was lost"]
    other = holding()
    other.lost(0, 1.0)
    assert other.wake_at() == 1.0 + PATIENCE.confirm
    assert reasons(other.tick(1.0 + PATIENCE.confirm)) == ["the leader was lost"]
    third = holding()
    third.lost(0, 1.0)
    assert reasons(third.heard(2, Abort(NAME, "no"), 1.0)) == ["no"]
    fourth = holding()
    fourth.heard(0, COMMIT, 0.0)
    fourth.lost(0, 1.0)
    assert reasons(fourth.heard(2, Abort(NAME, "no"), 1.0)) == ["no"]


def test_no_round_is_waited_for_beyond_its_time():
    one = Member(PLAN, 1, PATIENCE, 0.0)
    one.start()
    assert one.wake_at() == PATIENCE.whole
    assert "too long" in reasons(one.tick(PATIENCE.whole))[0]
    assert "lost" in reasons(Member(PLAN, 1, PATIENCE, 0.0).lost(0, 0.0))[0]


def test_a_leader_refuses_what_no_honest_member_says():
    for message in (Abort(NAME, ""), Have(NAME, 9, 0, ALL, b""), Complaint(NAME, -1, 0)):
        with pytest.raises(ProtocolViolation):
            leading().heard(1, message, 0.0)


def test_a_leader_begins_without_the_lost_and_turns_away_the_late():
    leader = Leader(PLAN, PATIENCE, 0.0)
    assert leader.wake_at() == PATIENCE.ready
    leader.heard(0, Ready(NAME), 0.0)
    leader.heard(1, Ready(NAME), 0.0)
    assert leader.lost(2, 1.0)[0] == Tell(0, Begin(NAME, (0, 1), (0, 1, 0)))
    assert leader.heard(2, Ready(NAME), 2.0) == [Tell(2, Drop(NAME, 2))]
    assert leader.heard(1, Ready(NAME), 2.0) == []
    assert leader.lost(2, 3.0) == []


def test_a_round_without_anybodys_values_does_not_begin():
    leader = Leader(plan_of([0, 1]), PATIENCE, 0.0)
    leader.heard(0, Ready(NAME), 0.0)
    leader.tick(1.0)
    assert leader.state == FORMING
    leader.tick(PATIENCE.ready)
    assert leader.state == FAILED
    assert leader.lost(1, 9.0) == []


def test_whoever_complains_again_of_a_slice_or_of_the_leader_is_left_out():
    leader = leading()
    assert leader.heard(1, Complaint(NAME, 2, 0), 0.0)[0].message.attempt == 1
    assert leader.heard(1, Complaint(NAME, 2, 0), 0.0) == []
    assert leader.heard(1, Complaint(NAME, 2, 1), 0.0)[0] == Tell(0, Drop(NAME, 1))
    leader = leading()
    assert leader.heard(2, Complaint(NAME, 0, 0), 0.0)[0] == Tell(0, Drop(NAME, 2))


def test_a_late_owner_is_dropped_and_a_late_leader_ends_the_round():
    leader = leading()
    for sender in ALL:
        leader.heard(sender, Have(NAME, 0, 0, ALL, b"a"), 0.0)
    assert leader.wake_at() == PATIENCE.deliver
    assert Tell(0, Drop(NAME, 1)) in leader.tick(PATIENCE.deliver)
    leader = leading()
    leader.tick(PATIENCE.deliver)
    assert leader.state == FAILED
    leader = leading()
    leader.tick(PATIENCE.deliver - 1)
    assert leader.state == AVERAGING


def test_members_that_do_not_get_what_the_owner_has_are_dropped():
    leader = leading()
    for number in ALL:
        for sender in (0, 1):
            leader.heard(sender, Have(NAME, number, 0, ALL, b"a"), 0.0)
    leader.heard(2, Have(NAME, 2, 0, ALL, b"a"), 0.0)
    told = leader.tick(PATIENCE.deliver)
    assert leader.state == COMMITTED
    assert told[-1].message.members == (0, 1)


def test_a_leader_has_no_more_time_than_the_round():
    leader = Leader(PLAN, replace(PATIENCE, whole=1.0), 0.0)
    assert leader.tick(1.0) == [Tell(place, Abort(NAME, "the round took too long")) for place in ALL]


def test_plans_with_other_words_have_other_names():
    assert RoundPlan(PLAN.run, 1, 8, "float32", 10_000, PLAN.seats).name() != NAME
