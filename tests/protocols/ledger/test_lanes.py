"""Lanes: credits set aside for one provider, claimed by vouchers, closed once, settled at what a quorum knows of."""

from __future__ import annotations

import pytest

from swarmd.protocols.canonical import decode
from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.entry import Claim, LaneFund, LaneOpen, LaneSettle, Pay
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.votes import ClaimVote, CloseCertificate, CloseVote
from swarmd.protocols.ledger.vouchers import (
    _RELEASE_TAG,
    _VOUCHER_TAG,
    Voucher,
    open_release,
    open_voucher,
    sign_voucher,
)
from swarmd.protocols.signing import parse_signed, sign
from tests.protocols.ledger.world import LIMITS, NOTHING, NOW, RUN, Validator, World

EXPIRES = int(NOW) + 500
LATE = EXPIRES + LIMITS.grace_seconds


@pytest.fixture
def world() -> World:
    """Ann has a lane of 1000 for Ben."""
    world = World()
    ann, ben, _ = world.owners
    world.certified(ann, LaneOpen(RUN, ben.peer, 1000, EXPIRES))
    return world


def released(world: World, total: int) -> AskCloseVote:
    ann, ben, _ = world.owners
    voucher = ann.voucher(1, ben.peer, total) if total else b""
    return AskCloseVote(ann.peer, 1, ben.release(ann.peer, 1, total), voucher)


def expired(world: World) -> AskCloseVote:
    return AskCloseVote(world.owners[0].peer, 1, b"", b"")


def test_a_voucher_within_the_lane_gets_votes_for_its_total(world):
    ann, ben, _ = world.owners
    member = world.validators[0]
    assert member.vote_claim(ann.voucher(1, ben.peer, 400)).vote == ClaimVote(0, ann.peer, 1, 400)
    assert member.vote_claim(ann.voucher(1, ben.peer, 300)).vote == ClaimVote(0, ann.peer, 1, 300)
    assert member.disk.marks[ann.peer, 1].highest == 400


def test_a_voucher_for_more_than_the_lane_holds_waits_for_the_lane_to_be_funded(world):
    ann, ben, _ = world.owners
    with pytest.raises(NotYet, match=r"lane 1 holds 0\.001 credits here, less than the voucher"):
        world.validators[0].vote_claim(ann.voucher(1, ben.peer, 1001))
    world.certified(ann, LaneFund(1, 1))
    assert world.validators[0].vote_claim(ann.voucher(1, ben.peer, 1001))


def test_a_voucher_of_an_unknown_lane_waits(world):
    ann, ben, _ = world.owners
    with pytest.raises(NotYet, match=r"lane 2 of .* is not known here yet"):
        world.validators[0].vote_claim(ann.voucher(2, ben.peer, 1))


def test_a_voucher_for_another_provider_or_run_is_no_honest_one(world):
    ann, ben, cid = world.owners
    with pytest.raises(ProtocolViolation, match="another provider or run"):
        world.validators[0].vote_claim(ann.voucher(1, cid.peer, 1))
    other = Voucher(
        payer=ann.peer, lane=1, run=RunId("cd" * 32), provider=ben.peer, number=1, total=1, work_root=bytes(32)
    )
    with pytest.raises(ProtocolViolation, match="another provider or run"):
        world.validators[0].vote_claim(sign_voucher(other, world.network, ann.who.sign))


def test_the_provider_spends_a_certified_claim_while_the_lane_is_open(world):
    ann, ben, _ = world.owners
    claim = world.certificate(Validator.vote_claim, ann.voucher(1, ben.peer, 400))
    world.certified(ben, Claim(ann.peer, 400), evidence=Evidence(claims=(claim,)))
    assert world.replica.state(ben.peer).received_from(ann.peer) == 400
    assert world.replica.supply().in_flight == -400
    assert world.replica.supply().total == world.genesis.supply


def test_direct_payments_and_lane_claims_add_up_and_each_lane_counts_once(world):
    ann, ben, _ = world.owners
    world.certified(ann, Pay(ben.peer, 50), LaneOpen(RUN, ben.peer, 100, EXPIRES))
    claims = tuple(
        world.certificate(Validator.vote_claim, ann.voucher(lane, ben.peer, total))
        for lane, total in ((1, 10), (1, 30), (2, 100), (1, 20))
    )
    maturity = world.certificate(Validator.vote_entry, *world.owners[2].draft(Pay(ben.peer, 1)), NOTHING)
    evidence = Evidence(claims=(*claims, maturity))
    with pytest.raises(NotYet):
        world.validators[0].vote_entry(*ben.draft(Claim(ann.peer, 181)), evidence)
    assert world.validators[0].vote_entry(*ben.draft(Claim(ann.peer, 180)), evidence)


def test_a_claim_on_anothers_lane_covers_nothing(world):
    ann, ben, cid = world.owners
    claim = world.certificate(Validator.vote_claim, ann.voucher(1, ben.peer, 400))
    with pytest.raises(NotYet):
        world.validators[0].vote_entry(*cid.draft(Claim(ann.peer, 400)), Evidence(claims=(claim,)))


def test_a_settled_lane_has_its_claim_in_what_was_sent(world):
    ann, ben, _ = world.owners
    claim = world.certificate(Validator.vote_claim, ann.voucher(1, ben.peer, 400))
    close = world.close(expired(world), LATE)
    world.certified(ann, LaneSettle(1, 400), evidence=Evidence(closes=(close,)))
    world.certified(ben, Claim(ann.peer, 400), evidence=Evidence(claims=(claim,)))
    with pytest.raises(NotYet):
        world.validators[0].vote_entry(*ben.draft(Claim(ann.peer, 401)), Evidence(claims=(claim,)))


def test_a_released_lane_closes_at_once_at_the_release(world):
    ann, ben, _ = world.owners
    close = world.close(released(world, 700))
    assert close.paid == 700
    world.certified(ann, LaneSettle(1, 700), evidence=Evidence(closes=(close,)))
    world.certified(ben, Claim(ann.peer, 700))
    assert world.replica.supply().in_flight == 0
    assert world.replica.state(ann.peer).locked == 0


def test_a_lane_released_without_work_needs_no_voucher(world):
    assert world.close(released(world, 0)).paid == 0


def test_a_release_is_the_providers_own_and_of_this_lane(world):
    ann, ben, cid = world.owners
    wrong = [
        cid.release(ann.peer, 1, 0),
        ben.release(ann.peer, 2, 0),
        ben.release(cid.peer, 1, 0),
    ]
    for release in wrong:
        with pytest.raises(ProtocolViolation, match="release of another lane"):
            world.validators[0].vote_close(AskCloseVote(ann.peer, 1, release, b""))


def test_a_release_comes_with_the_payers_voucher_for_its_total(world):
    ann, ben, _ = world.owners
    release = ben.release(ann.peer, 1, 700)
    for voucher in (ann.voucher(1, ben.peer, 699), ann.voucher(2, ben.peer, 700), ben.voucher(1, ben.peer, 700)):
        with pytest.raises(ProtocolViolation, match="released at the total of its payer's voucher"):
            world.validators[0].vote_close(AskCloseVote(ann.peer, 1, release, voucher))
    with pytest.raises(ProtocolViolation):
        world.validators[0].vote_close(AskCloseVote(ann.peer, 1, release, b""))


def test_without_a_release_a_lane_closes_after_expiry_and_grace(world):
    member = world.validators[0]
    with pytest.raises(NotYet, match="lane 1 can be closed in 600 s"):
        member.vote_close(expired(world), NOW)
    with pytest.raises(NotYet, match="lane 1 can be closed in 1 s"):
        member.vote_close(expired(world), LATE - 1)
    assert member.vote_close(expired(world), LATE).vote == CloseVote(0, world.owners[0].peer, 1, 0)


def test_claims_end_half_the_grace_time_before_lanes_close_by_themselves(world):
    ann, ben, _ = world.owners
    member, last = world.validators[0], EXPIRES + LIMITS.grace_seconds / 2
    assert member.vote_claim(ann.voucher(1, ben.peer, 400), last - 1)
    with pytest.raises(Refused, match=r"lane 1 expired on 2023-11-14 at 22:21 UTC; its payer settles it"):
        member.vote_claim(ann.voucher(1, ben.peer, 400), last)


def test_a_close_vote_names_the_highest_claim_voted_for(world):
    ann, ben, _ = world.owners
    member = world.validators[0]
    for total in (300, 400, 200):
        member.vote_claim(ann.voucher(1, ben.peer, total))
    assert member.vote_close(expired(world), LATE).vote == CloseVote(0, ann.peer, 1, 400)


def test_a_release_below_a_claim_voted_for_closes_at_the_claim(world):
    ann, ben, _ = world.owners
    member = world.validators[0]
    member.vote_claim(ann.voucher(1, ben.peer, 400))
    assert member.vote_close(released(world, 300)).vote == CloseVote(0, ann.peer, 1, 400)


def test_a_closed_lane_gets_the_same_vote_again_and_no_claim(world):
    ann, ben, _ = world.owners
    member = world.validators[0]
    vote = member.vote_close(released(world, 700))
    member.restart()
    assert member.vote_close(expired(world)) == vote
    assert member.vote_close(released(world, 900)) == vote
    with pytest.raises(Refused, match="was closed here"):
        member.vote_claim(ann.voucher(1, ben.peer, 900))


def test_a_settled_lane_gets_no_votes(world):
    ann, ben, _ = world.owners
    close = world.close(released(world, 700))
    world.certified(ann, LaneSettle(1, 700), evidence=Evidence(closes=(close,)))
    with pytest.raises(Refused, match=r"lane 1 of .* is settled"):
        world.validators[0].vote_claim(ann.voucher(1, ben.peer, 900))
    with pytest.raises(Refused, match=r"lane 1 of .* is settled"):
        world.validators[0].vote_close(expired(world), LATE)


def test_a_lane_settles_at_the_highest_close_vote_of_its_certificate(world):
    ann, ben, _ = world.owners
    for member, total in zip(world.validators, (100, 500, 300, 0), strict=True):
        if total:
            member.vote_claim(ann.voucher(1, ben.peer, total))
    close = world.close(expired(world), LATE)
    assert close.paid == 500
    evidence = Evidence(closes=(close,))
    for paid in (499, 501):
        with pytest.raises(NotYet, match="no certificate was given that lane 1 is closed at"):
            world.validators[0].vote_entry(*ann.draft(LaneSettle(1, paid)), evidence)
    world.certified(ann, LaneSettle(1, 500), evidence=evidence)


def test_a_certificate_of_too_few_closes_nothing(world):
    ann = world.owners[0]
    votes = [member.vote_close(expired(world), LATE) for member in world.validators[:2]]
    few = CloseCertificate(tuple(sorted(votes, key=lambda vote: vote.member)))
    with pytest.raises(ProtocolViolation, match="without a quorum"):
        world.validators[0].vote_entry(*ann.draft(LaneSettle(1, 0)), Evidence(closes=(few,)))


def test_a_lane_that_holds_less_here_than_was_claimed_closes_at_the_claim_all_the_same(world):
    ann, ben, _ = world.owners
    behind = world.validators[0]
    raised = world.validators[1]
    voucher = ann.voucher(1, ben.peer, 1500)
    signed, state = ann.write(LaneFund(1, 1000))
    certificate = world.certificate(Validator.vote_entry, signed, state, NOTHING)
    raised.take_head(make_head(signed, state, certificate).raw, NOW)
    raised.vote_claim(voucher)
    behind.disk.marks.update(raised.disk.marks)
    assert behind.vote_close(expired(world), LATE).vote == CloseVote(0, ann.peer, 1, 1500)


@pytest.mark.parametrize(
    ("tag", "read", "words"),
    [(_VOUCHER_TAG, open_voucher, "another than its payer"), (_RELEASE_TAG, open_release, "another than its provider")],
)
def test_vouchers_and_releases_are_their_signers_own(world, tag, read, words):
    ann, ben, cid = world.owners
    made = {_VOUCHER_TAG: ann.voucher(1, ben.peer, 5), _RELEASE_TAG: ben.release(ann.peer, 1, 5)}[tag]
    body = decode(parse_signed(made, limit=1024).body, limit=1024)
    with pytest.raises(ProtocolViolation, match=words):
        read(sign(tag, world.network, cid.peer, cid.who.sign, body).to_bytes(), world.network)
