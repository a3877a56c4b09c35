"""Stake: a surety that comes back after the members' own clocks saw a cooldown, and burns with a proof."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import NotYet, ProtocolViolation, Refused, UsageError
from swarmd.protocols.ledger.account import Unbonding
from swarmd.protocols.ledger.entry import Pay, Release, Stake, Unstake
from swarmd.protocols.ledger.messages import Evidence
from swarmd.protocols.ledger.proofs import DoubleVote, Fork, encode_proof
from swarmd.protocols.ledger.votes import EntryVote, MaturityVote, certificate_of
from tests.protocols.ledger.world import LIMITS, NOTHING, NOW, Validator, World

RIPE = NOW + LIMITS.cooldown_seconds


@pytest.fixture
def world() -> World:
    """Ann staked 100 and unstaked 60 of it with entry 2, which everybody saw certified at NOW."""
    world = World()
    world.certified(world.owners[0], Stake(100))
    world.certified(world.owners[0], Unstake(60))
    return world


def forked(world: World) -> bytes:
    ann, ben, cid = world.owners
    return encode_proof(Fork(ann.draft(Pay(ben.peer, 1))[0].raw, ann.draft(Pay(cid.peer, 1))[0].raw))


def test_stake_is_released_with_a_certificate_that_the_cooldown_is_over(world):
    ann = world.owners[0]
    ripe = world.certificate(Validator.vote_maturity, ann.peer, 2, RIPE)
    world.certified(ann, Release(2), evidence=Evidence(maturities=(ripe,)))
    state = world.replica.state(ann.peer)
    assert (state.bonded, state.unbonding, state.released) == (40, (), 60)


def test_before_the_cooldown_is_over_by_its_clock_a_member_says_how_long(world):
    ann, member = world.owners[0], world.validators[0]
    with pytest.raises(NotYet, match="the stake comes back in 1 s"):
        member.vote_maturity(ann.peer, 2, RIPE - 1)
    assert member.vote_maturity(ann.peer, 2, RIPE).vote == MaturityVote(0, ann.peer, 2)


def test_the_cooldown_runs_from_when_the_member_saw_the_entry_first(world):
    ann, member = world.owners[0], world.validators[0]
    head = world.replica.head(ann.peer)
    late = Validator(member.who, world.genesis)
    late.take_head(head.raw, NOW + 500)
    late.take_head(head.raw, NOW + 900)
    with pytest.raises(NotYet):
        late.vote_maturity(ann.peer, 2, RIPE)
    assert late.vote_maturity(ann.peer, 2, RIPE + 500)


def test_an_entry_that_is_not_known_as_certified_waits(world):
    ann = world.owners[0]
    with pytest.raises(NotYet, match=r"entry 3 of .* is not known here as certified yet"):
        world.validators[0].vote_maturity(ann.peer, 3, RIPE)
    unseen = Validator(world.validators[0].who, world.genesis)
    with pytest.raises(NotYet, match=r"entry 2 of .* is not known here"):
        unseen.vote_maturity(ann.peer, 2, RIPE)


def test_an_entry_that_unstaked_nothing_never_matures(world):
    with pytest.raises(Refused, match="entry 1 has nothing on its way back"):
        world.validators[0].vote_maturity(world.owners[0].peer, 1, RIPE)


@pytest.mark.parametrize("of", ["another entry", "another account", "another kind"])
def test_the_certificate_is_of_this_entry_of_this_account(world, of):
    ann, ben, _ = world.owners
    world.certified(ben, Stake(9))
    world.certified(ben, Unstake(9))
    world.certified(ann, Unstake(40))
    given = {
        "another entry": (Validator.vote_maturity, ann.peer, 3, RIPE),
        "another account": (Validator.vote_maturity, ben.peer, 2, RIPE),
        "another kind": (Validator.vote_entry, *ben.draft(Pay(ann.peer, 1)), NOTHING),
    }[of]
    evidence = Evidence(maturities=(world.certificate(*given),))
    with pytest.raises(NotYet, match="no certificate was given that the cooldown of entry 2 is over"):
        world.validators[0].vote_entry(*ann.draft(Release(2)), evidence)


def test_what_one_entry_unstakes_in_parts_comes_back_as_one(world):
    ann = world.owners[0]
    world.certified(ann, Unstake(10), Unstake(5))
    assert world.replica.state(ann.peer).unbonding == (Unbonding(2, 60), Unbonding(3, 15))
    ripe = Evidence(maturities=(world.certificate(Validator.vote_maturity, ann.peer, 3, RIPE),))
    with pytest.raises(UsageError, match="nothing on its way back"):
        ann.draft(Release(3), Release(3))
    world.certified(ann, Release(3), evidence=ripe)
    state = world.replica.state(ann.peer)
    assert (state.bonded, state.unbonding, state.released) == (25, (Unbonding(2, 60),), 15)


def test_a_proof_against_members_takes_nothing_from_what_they_certified(world):
    ann, ben, cid = world.owners
    lying = world.validators[0]
    ripe = world.certificate(Validator.vote_maturity, ann.peer, 2, RIPE)
    votes = [EntryVote(0, ben.peer, 1, ben.draft(Pay(each, 1))[0].id) for each in (ann.peer, cid.peer)]
    world.spread_proof(encode_proof(DoubleVote(*map(lying.sign, votes))))
    assert lying.peer in {vote.member for vote in ripe.votes}
    assert all(each.replica.frozen(lying.peer) for each in world.validators)
    signed, state = ann.draft(Release(2))
    assert world.validators[1].vote_entry(signed, state, Evidence(maturities=(ripe,)))
    raw = world.replica.head(ann.peer).raw
    late = Validator(lying.who, world.genesis)
    late.take_proof(world.replica.proof(lying.peer))
    assert late.replica.offer_head(raw) is not None


def test_a_certificate_of_too_few_releases_nothing(world):
    ann = world.owners[0]
    few = certificate_of(tuple(world.votes(Validator.vote_maturity, ann.peer, 2, RIPE)[:2]))
    with pytest.raises(ProtocolViolation, match="without a quorum"):
        world.validators[0].vote_entry(*ann.draft(Release(2)), Evidence(maturities=(few,)))


def test_a_proof_burns_what_is_bonded_and_what_is_on_its_way_back(world):
    ann = world.owners[0]
    before = world.replica.supply()
    assert (before.bonded, before.unbonding, before.burned) == (40, 60, 0)
    world.spread_proof(forked(world))
    supply = world.replica.supply()
    assert (supply.bonded, supply.unbonding, supply.burned) == (0, 0, 100)
    assert supply.total == before.total == supply.granted == world.genesis.supply
    assert world.replica.burned(ann.peer) == 100
    assert world.replica.burned(world.owners[1].peer) == 0


def test_burned_stake_never_matures(world):
    world.spread_proof(forked(world))
    with pytest.raises(Refused, match="its stake is burned"):
        world.validators[0].vote_maturity(world.owners[0].peer, 2, RIPE)
