"""Replicas: whatever comes, in whatever order and however often, the same things make the same replica."""

from __future__ import annotations

import random
from dataclasses import replace
from itertools import permutations

import pytest

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import AccountState, born
from swarmd.protocols.ledger.committee import check_certificate, first_committee
from swarmd.protocols.ledger.entry import Claim, Pay, Stake, sign_entry
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.ledger.heads import CertifiedHead, Head, make_head, open_head, trust_head
from swarmd.protocols.ledger.proofs import DoubleVote, Fork, encode_proof, open_proof
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.votes import (
    Certificate,
    ClaimVote,
    CloseCertificate,
    CloseVote,
    EntryVote,
    MaturityVote,
    Vote,
    certificate_of,
    check_vote,
)
from tests.protocols.keys import NETWORK, who
from tests.protocols.ledger.world import NOTHING, Validator, World


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def heads(world) -> list[bytes]:
    """Three of Ann's, one of Ben's."""
    ann, ben, _ = world.owners
    made = [world.certified(ann, Pay(ben.peer, amount)).raw for amount in (1, 2, 3)]
    return [*made, world.certified(ben, Claim(ann.peer, 6), Stake(4)).raw]


def fork(world: World, account: int = 2) -> bytes:
    owner, other = world.owners[account], world.owners[account - 1]
    return encode_proof(Fork(owner.draft(Pay(other.peer, 1))[0].raw, owner.draft(Pay(other.peer, 2))[0].raw))


def test_only_the_newest_head_of_an_account_counts(world, heads):
    replica, ann = Replica(world.genesis), world.owners[0].peer
    assert replica.offer_head(heads[1]).signed.entry.seq == 2
    assert replica.offer_head(heads[0]) is None
    assert replica.offer_head(heads[1]) is None
    assert replica.offer_head(heads[2]).raw == heads[2]
    assert replica.head(ann).state == replica.state(ann)
    assert (replica.seq(ann), replica.seq(world.owners[2].peer), len(replica)) == (3, 0, 1)
    assert replica.accounts() == (ann,)


def test_signatures_of_a_head_that_is_not_newer_are_not_looked_at(world, heads, monkeypatch):
    replica = Replica(world.genesis)
    replica.offer_head(heads[0])
    monkeypatch.setattr("swarmd.protocols.signing._key_of", None)
    assert replica.offer_head(heads[0]) is None


@pytest.mark.slow
def test_the_order_of_coming_and_repetition_do_not_matter(world, heads):
    proof = fork(world)
    replicas = []
    for order in permutations([*heads, proof]):
        replica = Replica(world.genesis)
        for raw in (*order, *random.Random(1).choices(order, k=3)):
            replica.offer_proof(raw) if raw == proof else replica.offer_head(raw)
        replicas.append(replica)
    assert len({each.buckets.root() for each in replicas}) == 1
    assert len({each.proofs_hash() for each in replicas}) == 1
    assert len({each.supply() for each in replicas}) == 1


def test_without_a_head_an_account_has_what_the_genesis_gave_it(world):
    ann, stranger = world.owners[0].peer, who(77).peer
    assert world.replica.state(ann) == born(world.genesis, ann)
    assert world.replica.state(stranger) == AccountState(granted=0)
    assert world.replica.head(ann) is None
    assert world.replica.supply().balances == world.genesis.supply


def test_what_was_paid_and_not_claimed_is_in_flight(world):
    ann, ben, _ = world.owners
    world.certified(ann, Pay(ben.peer, 70))
    assert world.replica.supply().in_flight == 70
    world.certified(ben, Claim(ann.peer, 50))
    assert world.replica.supply().in_flight == 20
    assert world.replica.supply().total == world.genesis.supply


def test_a_head_comes_back_from_disk_without_looking_at_signatures(world, heads, monkeypatch):
    monkeypatch.setattr("swarmd.protocols.signing._key_of", None)
    head = trust_head(heads[2], world.network)
    assert head == world.replica.head(world.owners[0].peer)
    replica = Replica(world.genesis)
    replica.add_head(head)
    replica.add_head(trust_head(heads[0], world.network))
    assert replica.seq(world.owners[0].peer) == 3


def parts(world: World) -> tuple[Head, CertifiedHead]:
    ann, ben, _ = world.owners
    signed, state = ann.write(Pay(ben.peer, 5))
    certificate = world.certificate(Validator.vote_entry, signed, state, NOTHING)
    return make_head(signed, state, certificate), CertifiedHead(signed.raw, state.to_bytes(), certificate)


def refused(world: World, wrong: CertifiedHead, words: str) -> None:
    with pytest.raises(ProtocolViolation, match=words):
        open_head(wrong.to_bytes(), world.network, world.replica.committees)


def test_a_head_is_whole_or_nothing(world):
    head, good = parts(world)
    ann, ben, cid = world.owners
    assert open_head(good.to_bytes(), world.network, world.replica.committees) == head
    refused(world, replace(good, state=AccountState(granted=5).to_bytes()), "state that is not the one")
    ballots = good.certificate.ballots
    refused(world, replace(good, certificate=replace(good.certificate, ballots=ballots[:2])), "without a quorum")
    swapped = (replace(ballots[0], signature=ballots[1].signature), *ballots[1:])
    refused(world, replace(good, certificate=replace(good.certificate, ballots=swapped)), "does not hold")
    other = world.certificate(Validator.vote_entry, *ben.draft(Pay(ann.peer, 1)), NOTHING)
    refused(world, replace(good, certificate=other), "certificate of another entry")
    kind = Certificate(ClaimVote(0, ann.peer, 1, 5), ballots)
    refused(world, replace(good, certificate=kind), "certificate of another entry")
    forged = replace(head.signed.entry, account=cid.peer)
    signed = sign_entry(forged, world.network, ann.who.sign)
    refused(world, replace(good, entry=signed.raw), "does not hold")


def test_votes_count_from_members_only(world):
    signed, _ = world.owners[0].draft(Pay(world.owners[1].peer, 5))
    vote = EntryVote(0, signed.entry.account, 1, signed.id)
    outsiders = [Validator(who(each), world.genesis).sign(vote) for each in (1, 2, 3, 50)]
    with pytest.raises(ProtocolViolation, match="no member of the committee"):
        check_certificate(certificate_of(tuple(outsiders)), world.replica.committees, world.network)
    lost = certificate_of(tuple(Validator(who(1), world.genesis).sign(replace(vote, committee=n)) for n in (-1,)))
    with pytest.raises(ProtocolViolation):
        check_certificate(lost, world.replica.committees, world.network)


def test_a_certificate_of_a_committee_that_is_not_known_here_waits(world):
    signed, _ = world.owners[0].draft(Pay(world.owners[1].peer, 5))
    vote = EntryVote(1, signed.entry.account, 1, signed.id)
    certificate = certificate_of(tuple(each.sign(vote) for each in world.validators))
    with pytest.raises(NotYet, match="committee 1 is not known here yet"):
        check_certificate(certificate, world.replica.committees, world.network)


def test_a_network_without_a_committee_certifies_nothing():
    nobody = first_committee(Genesis(name="home", salt=b""))
    assert not nobody.has_quorum(())
    assert not nobody.has_quorum((who(1).peer,))


# Votes and certificates


def test_a_vote_is_worth_nothing_on_another_network_or_from_another_member(world):
    vote = world.validators[0].sign(MaturityVote(0, world.owners[0].peer, 1))
    check_vote(vote, world.network)
    with pytest.raises(ProtocolViolation):
        check_vote(vote, NETWORK)
    with pytest.raises(ProtocolViolation):
        check_vote(replace(vote, member=world.validators[1].peer), world.network)


def test_a_certificate_holds_equal_votes(world):
    votes = tuple(each.sign(MaturityVote(0, world.owners[0].peer, at)) for at, each in enumerate(world.validators))
    with pytest.raises(ProtocolViolation, match="equal votes"):
        certificate_of(votes)
    with pytest.raises(ProtocolViolation, match="equal votes"):
        certificate_of(())
    with pytest.raises(ProtocolViolation, match="equal votes"):
        certificate_of((world.validators[0].sign(CloseVote(0, world.owners[0].peer, 1, 1)),))


def test_a_close_certificate_is_of_one_lane_in_one_committee(world):
    ann, (one, other, *_) = world.owners[0].peer, sorted(world.validators, key=lambda each: each.peer)
    good = (one.sign(CloseVote(0, ann, 1, 5)), other.sign(CloseVote(0, ann, 1, 7)))
    assert CloseCertificate(good).paid == 7
    for second in (CloseVote(1, ann, 1, 5), CloseVote(0, ann, 2, 5), MaturityVote(0, ann, 1)):
        with pytest.raises(ValueError, match="one committee on one lane"):
            CloseCertificate((good[0], other.sign(second)))
    with pytest.raises(ValueError, match="sorted"):
        CloseCertificate(good[::-1])
    with pytest.raises(ValueError, match="sorted"):
        CloseCertificate(())


# Proofs


def test_a_fork_convicts_its_owner_once(world):
    culprit = world.owners[2].peer
    assert world.replica.offer_proof(fork(world)) == culprit
    assert world.replica.offer_proof(fork(world)) is None
    assert world.replica.frozen(culprit)
    assert world.replica.proof(culprit) == fork(world)
    assert world.replica.proofs() == ((culprit, fork(world)),)
    assert world.replica.proof(world.owners[0].peer) is None


def test_the_hash_over_proofs_is_over_the_culprits(world):
    other = Replica(world.genesis)
    assert other.proofs_hash() == world.replica.proofs_hash()
    world.replica.offer_proof(fork(world))
    assert other.proofs_hash() != world.replica.proofs_hash()
    other.add_proof(world.owners[2].peer, b"another proof against the same")
    assert other.proofs_hash() == world.replica.proofs_hash()


def test_the_same_entry_signed_twice_is_no_fork(world):
    ann, ben, cid = world.owners
    signed, _ = ann.write(Pay(ben.peer, 1))
    later, _ = ann.draft(Pay(ben.peer, 1))
    other, _ = cid.draft(Pay(ben.peer, 1))
    for second in (signed, later, other):
        with pytest.raises(ProtocolViolation, match="no fork"):
            world.replica.offer_proof(encode_proof(Fork(signed.raw, second.raw)))


def entry(digit: str) -> EntryId:
    return EntryId(digit * 64)


A, B = PeerId("a"), PeerId("b")


@pytest.mark.parametrize(
    ("one", "other", "guilty"),
    [
        (EntryVote(0, A, 1, entry("a")), EntryVote(0, A, 1, entry("b")), True),
        (EntryVote(0, A, 1, entry("a")), EntryVote(3, A, 1, entry("b")), False),
        (EntryVote(0, A, 1, entry("a")), EntryVote(3, A, 1, entry("a")), False),
        (EntryVote(0, A, 1, entry("a")), EntryVote(0, A, 2, entry("b")), False),
        (EntryVote(0, A, 1, entry("a")), EntryVote(0, B, 1, entry("b")), False),
        (CloseVote(0, A, 1, 5), CloseVote(0, A, 1, 6), True),
        (CloseVote(0, A, 1, 5), CloseVote(1, A, 1, 6), False),
        (CloseVote(0, A, 1, 5), CloseVote(0, A, 2, 6), False),
        (CloseVote(0, A, 1, 5), ClaimVote(0, A, 1, 6), True),
        (ClaimVote(0, A, 1, 6), CloseVote(0, A, 1, 5), True),
        (ClaimVote(1, A, 1, 6), CloseVote(0, A, 1, 5), False),
        (ClaimVote(0, A, 1, 6), CloseVote(1, A, 1, 5), False),
        (ClaimVote(0, A, 1, 5), CloseVote(0, A, 1, 5), False),
        (ClaimVote(0, A, 1, 5), ClaimVote(0, A, 1, 6), False),
        (MaturityVote(0, A, 1), MaturityVote(1, A, 1), False),
    ],
)
def test_which_votes_of_one_committee_no_honest_member_gives(world, one: Vote, other: Vote, guilty: bool):
    member = world.validators[0]
    raw = encode_proof(DoubleVote(member.sign(one), member.sign(other)))
    if guilty:
        assert open_proof(raw, world.network)[0] == member.peer
        assert world.replica.offer_proof(raw) == member.peer
    else:
        with pytest.raises(ProtocolViolation, match="do not contradict"):
            world.replica.offer_proof(raw)


def test_two_members_may_vote_for_two_entries(world):
    one, other, *_ = world.validators
    votes = one.sign(EntryVote(0, A, 1, entry("a"))), other.sign(EntryVote(0, A, 1, entry("b")))
    with pytest.raises(ProtocolViolation, match="do not contradict"):
        world.replica.offer_proof(encode_proof(DoubleVote(*votes)))


def test_a_proof_needs_both_signatures(world):
    one = world.validators[0]
    votes = one.sign(EntryVote(0, A, 1, entry("a"))), one.sign(EntryVote(0, A, 1, entry("b")))
    for at in (0, 1):
        forged = list(votes)
        forged[at] = replace(votes[at], signature=bytes(64))
        with pytest.raises(ProtocolViolation, match="does not hold"):
            world.replica.offer_proof(encode_proof(DoubleVote(*forged)))
    with pytest.raises(ProtocolViolation, match="kind that is not known"):
        world.replica.offer_proof(encode((("theft", b"", b""),)))
    assert not world.replica.frozen(one.peer)
