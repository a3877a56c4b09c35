"""Peers that send what is wrong, or too much: counted, refused, and in the end without a connection."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.desk import OFFENCES
from swarmd.ledger.topics import topic
from swarmd.net.rpc import call
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import NotYet, RemoteError, UsageError
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Claim, Pay, sign_entry
from swarmd.protocols.ledger.genesis import Genesis, Limits
from swarmd.protocols.ledger.messages import (
    LEDGER_PROTOCOL,
    AskEntryVote,
    Evidence,
    GetHeads,
    Heads,
    Voted,
)
from tests.ledger.nodes import CREDIT, LedgerNode, genesis_of, identity, ledger_swarm, until

pytestmark = pytest.mark.slow


async def ask_vote(asker: LedgerNode, member: LedgerNode, entry: bytes) -> Voted:
    request = AskEntryVote(entry, AccountState(granted=0).to_bytes(), Evidence())
    return await call(asker.transport, member.peer, LEDGER_PROTOCOL, request, Voted)


async def test_a_peer_that_keeps_asking_for_votes_on_rubbish_loses_its_connection(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        member, asker = await swarm.add_all(2)
        for _ in range(OFFENCES):
            with pytest.raises(RemoteError):
                await ask_vote(asker, member, b"rubbish")
        assert asker.peer in member.transport.connected()
        with pytest.raises(RemoteError):
            await ask_vote(asker, member, b"rubbish")
        assert member.wallet.counters()["ledger_offenders_dropped"] == 1


async def test_a_peer_that_asks_too_much_is_told_to_wait(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        member, asker = await swarm.add_all(2)
        question = GetHeads((asker.peer,))

        async def ask() -> Heads:
            return await call(asker.transport, member.peer, LEDGER_PROTOCOL, question, Heads)

        while member.wallet.keeper.counters["requests_over_rate"] == 0:
            with contextlib.suppress(NotYet):
                await ask()
        with pytest.raises(NotYet, match="too many questions"):
            await ask()
        await trio.sleep(10)
        assert await ask() == Heads(())


async def test_gossip_that_no_honest_peer_sends_is_rejected_and_what_is_only_early_is_not(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(2)) as swarm:
        one, two = await swarm.add_all(2)
        network = swarm.genesis.id
        await two.deps.gossip.publish(topic(network, "head"), b"rubbish")
        await two.deps.gossip.publish(topic(network, "proof"), encode(("fork", b"", b"")))
        claim = (Claim(two.peer, 5),)
        entry, _ = next_entry(identity(9).peer, 1, FIRST_PREV, AccountState(granted=0), claim, 0)
        early = sign_entry(entry, network, identity(9).sign)
        await two.deps.gossip.publish(topic(network, "entry"), early.raw)
        counters = one.wallet.keeper.counters
        await until(lambda: counters["gossip_head_reject"] and counters["gossip_proof_reject"])
        await until(lambda: counters["gossip_entry_ignore"])
        assert len(one.wallet.keeper.pool) == 0


async def test_an_account_that_writes_too_fast_waits_and_loses_nothing(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    limits = Limits(entry_seconds=10, entry_burst=3)
    async with ledger_swarm(tmp_path, genesis_of(4, limits=limits)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        for _ in range(6):
            await one.wallet.write((Pay(two.peer, CREDIT),))
        assert trio.current_time() >= 20
        await two.until(lambda: two.balance == 6 * CREDIT)


async def test_whoever_has_no_credits_cannot_write(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        member, poor = await swarm.add_all(2)
        claim = (Claim(member.peer, 5),)
        entry, state = next_entry(poor.peer, 1, FIRST_PREV, AccountState(granted=0), claim, 0)
        signed = sign_entry(entry, swarm.genesis.id, poor.identity.sign)
        request = AskEntryVote(signed.raw, state.to_bytes(), Evidence())
        with pytest.raises(NotYet, match="are claimed"):
            await call(poor.transport, member.peer, LEDGER_PROTOCOL, request, Voted)
        assert member.balance == 1000 * CREDIT


async def test_a_network_without_credits_has_a_wallet_that_says_so(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, Genesis(name="free", salt=b"")) as swarm:
        one, two = await swarm.add_all(2)
        assert not one.wallet.enabled
        assert one.wallet.standing().balance == 0
        with pytest.raises(UsageError, match="no credits"):
            await one.wallet.write((Pay(two.peer, 1),))
