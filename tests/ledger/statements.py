"""Signed entries and votes for the tests of the stores; the same every time."""

from __future__ import annotations

from contextlib import asynccontextmanager
from functools import lru_cache

import trio

from swarmd.ledger.selfdb import serve_self_store
from swarmd.protocols.ids import EntryId, RunId
from swarmd.protocols.ledger.entry import FIRST_PREV, Entry, Pay, SignedEntry, sign_entry
from swarmd.protocols.ledger.handover import Handover
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, EntryVote, MaturityVote, SignedVote
from tests.protocols.keys import NETWORK, who

ANNA, BERT, CARL = who(1), who(2), who(3)
RUN = RunId("ab" * 32)


@lru_cache
def entry(seq: int, amount: int = 1, prev: EntryId | None = None) -> SignedEntry:
    """Anna's entry of that number; another amount makes another entry. It follows the one of amount 1."""
    if prev is None:
        prev = FIRST_PREV if seq == 1 else EntryId(f"{seq - 1:064x}") if seq > 20 else entry(seq - 1).id
    made = Entry(account=ANNA.peer, seq=seq, prev=prev, time=seq, ops=(Pay(BERT.peer, amount),), state_hash=bytes(32))
    return sign_entry(made, NETWORK, ANNA.sign)


def by(vote: EntryVote | ClaimVote | CloseVote | MaturityVote) -> SignedVote:
    """Carl's vote. Stores look at no signature."""
    return SignedVote(vote, CARL.peer, bytes(64))


def entry_vote(seq: int, word: int = 1, committee: int = 0) -> SignedVote:
    """For Anna's entry of that number; ``word`` tells entries apart."""
    return by(EntryVote(committee, ANNA.peer, seq, EntryId(f"{word:064x}")))


def claim_vote(lane: int, total: int, committee: int = 0) -> SignedVote:
    """For a claim on a lane of Anna's."""
    return by(ClaimVote(committee, ANNA.peer, lane, total))


def close_vote(lane: int, highest: int, committee: int = 0) -> SignedVote:
    """For closing a lane of Anna's."""
    return by(CloseVote(committee, ANNA.peer, lane, highest))


def handover(word: int = 1) -> Handover:
    """Carl's, to the change of that word."""
    return Handover(bytes([word]) * 32, bytes(32), CARL.peer, bytes(64))


@asynccontextmanager
async def served(serve, *arguments, **settings):
    """What a ``serve_*`` function serves, for the length of the block."""
    async with trio.open_nursery() as nursery:
        yield await nursery.start(lambda task_status: serve(*arguments, **settings, task_status=task_status))
        nursery.cancel_scope.cancel()


def self_store(path):
    """The store of a ``self.db``."""
    return served(serve_self_store, path)
