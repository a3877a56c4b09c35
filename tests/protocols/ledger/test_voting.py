"""Which entries a member votes for, and what it says about the others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused
from swarmd.protocols.ids import EntryId
from swarmd.protocols.ledger.account import AccountState, born
from swarmd.protocols.ledger.entry import (
    FIRST_PREV,
    Claim,
    Entry,
    LaneOpen,
    LaneSettle,
    Pay,
    Stake,
    open_entry,
    sign_entry,
)
from swarmd.protocols.ledger.heads import make_head, state_hash
from swarmd.protocols.ledger.messages import Evidence
from swarmd.protocols.ledger.proofs import DoubleVote, Fork, encode_proof
from swarmd.protocols.ledger.validator import decide_entry
from swarmd.protocols.ledger.votes import EntryVote
from tests.protocols.keys import NETWORK, who
from tests.protocols.ledger.world import NOTHING, NOW, RUN, Owner, Validator, World


@pytest.fixture
def world() -> World:
    return World()


def ask(world: World, signed, state, evidence=NOTHING):
    """One member's vote."""
    return world.validators[0].vote_entry(signed, state, evidence)


def test_a_good_entry_gets_a_vote_that_names_it(world):
    ann, ben, _ = world.owners
    signed, state = ann.write(Pay(ben.peer, 5))
    vote = ask(world, signed, state)
    assert vote.vote == EntryVote(0, ann.peer, 1, signed.id)
    assert vote.member == world.validators[0].peer
    assert ask(world, signed, state) == vote


def test_a_quorum_of_votes_certifies_and_the_next_entry_follows(world):
    ann, ben, _ = world.owners
    world.certified(ann, Pay(ben.peer, 5))
    head = world.certified(ann, Pay(ben.peer, 6))
    assert world.replica.head(ann.peer) == head
    assert world.replica.state(ann.peer).sent_to(ben.peer) == 11


def test_of_two_entries_with_one_number_a_member_votes_for_the_first_it_saw(world):
    ann, ben, cid = world.owners
    one, other = ann.draft(Pay(ben.peer, 5)), ann.draft(Pay(cid.peer, 5))
    ask(world, *one)
    with pytest.raises(Refused, match="its owner signed two"):
        ask(world, *other)
    world.validators[0].restart()
    with pytest.raises(Refused, match="its owner signed two"):
        ask(world, *other)


def test_who_forked_gets_no_more_votes(world):
    ann, ben, cid = world.owners
    one, other = ann.draft(Pay(ben.peer, 5)), ann.draft(Pay(cid.peer, 5))
    world.spread_proof(encode_proof(Fork(one[0].raw, other[0].raw)))
    with pytest.raises(Refused, match="there is a proof against"):
        ask(world, *one)


def test_an_entry_must_follow_the_certified_one(world):
    ann, ben, _ = world.owners
    first = world.certified(ann, Pay(ben.peer, 5))
    again = Owner(ann.who, world.genesis).draft(Pay(ben.peer, 6))
    with pytest.raises(Refused, match=r"entry 1 of .* is certified already"):
        decide_entry(world.validators[0].replica, world.validators[0].peer, None, *again, NOTHING)
    third = replace(ann, seq=2)
    third.state = first.state
    with pytest.raises(NotYet, match=r"entry 1 of .* is the newest certified one known here"):
        ask(world, *third.draft(Pay(ben.peer, 6)))
    elsewhere = replace(ann, prev=first.signed.id[::-1])
    elsewhere.state = first.state
    with pytest.raises(ProtocolViolation, match="does not follow"):
        ask(world, *elsewhere.draft(Pay(ben.peer, 6)))


def test_the_state_must_be_what_the_operations_make(world):
    ann, ben, _ = world.owners
    signed, state = ann.draft(Pay(ben.peer, 5))
    with pytest.raises(ProtocolViolation, match="state is not what"):
        ask(world, signed, replace(state, granted=state.granted + 1))
    richer = replace(state, granted=state.granted + 1)
    lie = replace(signed.entry, state_hash=state_hash(richer))
    with pytest.raises(ProtocolViolation, match="state is not what"):
        ask(world, sign_entry(lie, world.network, ann.who.sign), richer)


def test_nobody_spends_more_than_it_has(world):
    ann, ben, _ = world.owners
    after = AccountState(granted=1)
    entry = Entry(
        account=ann.peer, seq=1, prev=FIRST_PREV, time=0, ops=(Pay(ben.peer, 1 << 40),), state_hash=state_hash(after)
    )
    with pytest.raises(ProtocolViolation, match="too small"):
        ask(world, sign_entry(entry, world.network, ann.who.sign), after)


def test_an_account_without_credits_begins_with_a_claim(world):
    ann, newcomer = world.owners[0], Owner(who(77), world.genesis)
    free = Entry(
        account=newcomer.peer,
        seq=1,
        prev=FIRST_PREV,
        time=0,
        ops=(Stake(1),),
        state_hash=state_hash(AccountState(granted=0)),
    )
    with pytest.raises(ProtocolViolation, match="too small"):
        ask(world, sign_entry(free, world.network, newcomer.who.sign), AccountState(granted=0))
    with pytest.raises(Refused, match="first entry claims credits"):
        ask(world, *_settling_nothing(newcomer, world))
    world.certified(ann, Pay(newcomer.peer, 7))
    world.certified(newcomer, Claim(ann.peer, 7), Pay(ann.peer, 2))
    assert world.replica.state(newcomer.peer).balance == 5


def _settling_nothing(newcomer: Owner, world: World):
    """An entry that costs nothing; written by hand, as it takes no balance to open and settle a lane at once."""
    ops = (LaneOpen(RUN, who(78).peer, 1, 1), LaneSettle(1, 0))
    after = replace(born(world.genesis, newcomer.peer), lanes_opened=1)
    entry = Entry(account=newcomer.peer, seq=1, prev=FIRST_PREV, time=0, ops=ops, state_hash=state_hash(after))
    return sign_entry(entry, world.network, newcomer.who.sign), after


def test_a_claim_waits_until_the_payment_is_certified_here(world):
    ann, ben, _ = world.owners
    signed, state = ann.write(Pay(ben.peer, 500))
    claim = ben.write(Claim(ann.peer, 500))
    with pytest.raises(NotYet, match=r"0\.0005 credits of .* are claimed; 0 are certified here"):
        ask(world, *claim)
    head = make_head(signed, state, world.certificate(Validator.vote_entry, signed, state, NOTHING))
    assert ask(world, *claim, Evidence(heads=(head.raw,))).vote == EntryVote(0, ben.peer, 1, claim[0].id)


def test_two_claims_of_one_payer_count_once(world):
    ann, ben, _ = world.owners
    world.certified(ann, Pay(ben.peer, 10))
    assert ask(world, *ben.draft(Claim(ann.peer, 4), Claim(ann.peer, 10)))
    with pytest.raises(Refused):
        ask(world, *ben.draft(Claim(ann.peer, 4), Claim(ann.peer, 11)))


def test_only_members_that_may_vote_do(world):
    ann, ben, _ = world.owners
    signed, state = ann.write(Pay(ben.peer, 5))
    replica, member = world.validators[0].replica, world.validators[0].peer
    with pytest.raises(Refused, match="is no member of committee 0"):
        decide_entry(replica, ann.peer, None, signed, state, NOTHING)
    with pytest.raises(NotYet, match="handed committee 0 over"):
        decide_entry(replica, member, None, signed, state, NOTHING, handed_over=0)
    twice = [world.validators[0].sign(EntryVote(0, ann.peer, 1, EntryId(digit * 64))) for digit in "ab"]
    world.spread_proof(encode_proof(DoubleVote(*twice)))
    with pytest.raises(Refused, match="its votes are worth nothing"):
        decide_entry(replica, member, None, signed, state, NOTHING)


def test_an_entry_of_another_network_is_worth_nothing(world):
    signed, _ = world.owners[0].draft(Pay(world.owners[1].peer, 5))
    assert open_entry(signed.raw, world.network) == signed
    with pytest.raises(ProtocolViolation, match="does not hold"):
        open_entry(signed.raw, NETWORK)


def test_time_is_only_the_owners_word(world):
    ann, ben, _ = world.owners
    assert ask(world, *ann.write(Pay(ben.peer, 5), now=NOW + 10**9))
