"""A newcomer needs no history: certified heads alone make its replica."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Claim, sign_entry
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.votes import EntryVote, certificate_of, sign_vote
from tests.ledger.nodes import genesis_of, identity, ledger_swarm, until

pytestmark = [pytest.mark.slow, pytest.mark.heavy]

ACCOUNTS = 10_000
SECONDS = 15.0
"""Of processor time, for the newcomer and the peer it asks together."""


async def test_ten_thousand_accounts_are_joined_from_heads_alone(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    genesis = genesis_of(4)
    payer = identity(1).peer
    async with ledger_swarm(tmp_path, genesis) as swarm:
        one = await swarm.add(1)
        for number in range(ACCOUNTS):
            who = identity(number + 100)
            entry, state = next_entry(who.peer, 1, FIRST_PREV, AccountState(granted=0), (Claim(payer, 1 + number),), 0)
            signed = sign_entry(entry, genesis.id, who.sign)
            vote = EntryVote(0, who.peer, 1, signed.id)
            members = [identity(n) for n in (1, 2, 3)]
            votes = tuple(sign_vote(vote, genesis.id, member.peer, member.sign) for member in members)
            one.wallet.replica.add_head(make_head(signed, state, certificate_of(votes)))
        began = time.process_time()
        five = await swarm.add(5)
        await until(lambda: five.wallet.replica.buckets.root() == one.wallet.replica.buckets.root(), 600, every=0.01)
        assert time.process_time() - began < SECONDS
        assert five.wallet.replica.supply().in_flight == -sum(range(1, ACCOUNTS + 1))
