"""What shows a lie: entries kept until they are certified, and votes kept to be compared."""

from __future__ import annotations

import pytest

from swarmd.identity import Identity
from swarmd.ledger.pool import SECONDS, Pool
from swarmd.ledger.watch import MAX_WATCHED, VoteWatch
from swarmd.protocols.ids import NetworkId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Pay, SignedEntry, sign_entry
from swarmd.protocols.ledger.proofs import DoubleVote, Fork
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, SignedVote, Vote
from tests.ledger.nodes import identity

NETWORK = NetworkId("00" * 32)
ONE, TWO = identity(1), identity(2)


def entry_of(amount: int, owner: Identity = ONE) -> SignedEntry:
    entry, _ = next_entry(owner.peer, 1, FIRST_PREV, AccountState(granted=100), (Pay(TWO.peer, amount),), 0)
    return sign_entry(entry, NETWORK, owner.sign)


def vote_of(vote: Vote) -> SignedVote:
    return SignedVote(vote, TWO.peer, bytes(64))


def test_two_entries_of_one_number_are_a_fork_and_one_twice_is_not() -> None:
    pool, one, other = Pool(), entry_of(1), entry_of(2)
    assert pool.offer(one, 0) is None
    assert pool.offer(one, 0) is None
    assert pool.offer(other, 0) == Fork(one.raw, other.raw)


def test_an_entry_is_forgotten_when_it_is_certified_or_old() -> None:
    pool = Pool()
    pool.offer(entry_of(1), 0)
    pool.drop(ONE.peer, 1)
    assert pool.get(ONE.peer) is None
    pool.offer(entry_of(1), 0)
    pool.offer(entry_of(1, identity(3)), SECONDS)
    assert pool.get(ONE.peer) is None
    assert len(pool) == 1


def test_the_pool_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmd.ledger.pool.MAX_PENDING", 3)
    pool = Pool()
    for number in range(5):
        pool.offer(entry_of(1, identity(number + 3)), 0)
    assert len(pool) == 3
    assert pool.get(identity(3).peer) is None


def test_a_claim_above_a_closing_is_a_lie_whichever_comes_first() -> None:
    close, claim = vote_of(CloseVote(0, ONE.peer, 1, 10)), vote_of(ClaimVote(0, ONE.peer, 1, 11))
    assert VoteWatch().note((close, claim)) == (DoubleVote(close, claim),)
    assert VoteWatch().note((claim, close)) == (DoubleVote(claim, close),)


def test_honest_votes_prove_nothing() -> None:
    low, high = vote_of(ClaimVote(0, ONE.peer, 1, 5)), vote_of(ClaimVote(0, ONE.peer, 1, 10))
    close, other = vote_of(CloseVote(0, ONE.peer, 1, 10)), vote_of(CloseVote(0, ONE.peer, 2, 3))
    assert VoteWatch().note((low, high, low, close, close, other)) == ()


def test_the_highest_claim_is_remembered() -> None:
    low, high = vote_of(ClaimVote(0, ONE.peer, 1, 5)), vote_of(ClaimVote(0, ONE.peer, 1, 10))
    close = vote_of(CloseVote(0, ONE.peer, 1, 7))
    assert VoteWatch().note((high, low, close)) == (DoubleVote(high, close),)


def test_votes_of_two_committees_prove_nothing() -> None:
    """A member restored from a backup does not know what it voted before, and others may not have reported it."""
    close, claim = vote_of(CloseVote(0, ONE.peer, 1, 10)), vote_of(ClaimVote(1, ONE.peer, 1, 11))
    assert VoteWatch().note((close, claim)) == ()
    assert VoteWatch().note((claim, close)) == ()


def test_a_lie_in_one_committee_is_seen_beside_votes_of_another() -> None:
    close, claim = vote_of(CloseVote(0, ONE.peer, 1, 10)), vote_of(ClaimVote(0, ONE.peer, 1, 11))
    later = vote_of(CloseVote(1, ONE.peer, 1, 20)), vote_of(ClaimVote(1, ONE.peer, 1, 15))
    assert VoteWatch().note((close, *later, claim)) == (DoubleVote(close, claim),)


def test_the_watch_is_bounded() -> None:
    watch = VoteWatch()
    watch.note(vote_of(CloseVote(0, ONE.peer, lane, 0)) for lane in range(MAX_WATCHED + 1))
    assert watch.note((vote_of(CloseVote(0, ONE.peer, 0, 1)),)) == ()
    assert len(watch.note((vote_of(CloseVote(0, ONE.peer, MAX_WATCHED, 1)),))) == 1
