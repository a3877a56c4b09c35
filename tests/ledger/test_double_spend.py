"""Every way to spend twice ends in a refusal with its reason, or in a proof that freezes whoever tried."""

from __future__ import annotations

import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.identity import Identity
from swarmd.ledger.backup import account_copy, restore_account
from swarmd.ledger.change import change_committee
from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.ownhead import ALONE
from swarmd.ledger.topics import topic
from swarmd.net.rpc import call
from swarmd.protocols.errors import RemoteError, StateError
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Pay, SignedEntry, sign_entry
from swarmd.protocols.ledger.genesis import Member
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.messages import LEDGER_PROTOCOL, AskEntryVote, Evidence, Voted
from swarmd.protocols.ledger.votes import EntryVote, certificate_of, sign_vote
from tests.ledger.nodes import CALM, CREDIT, LedgerNode, LedgerSwarm, genesis_of, identity, ledger_swarm, until

pytestmark = pytest.mark.slow


def first_entry(swarm: LedgerSwarm, payee: LedgerNode | Identity, amount: int) -> tuple[SignedEntry, AccountState]:
    """An entry 1 of node 1, signed behind its daemon's back."""
    owner = identity(1)
    born = AccountState(granted=swarm.genesis.granted(owner.peer))
    entry, state = next_entry(owner.peer, 1, FIRST_PREV, born, (Pay(payee.peer, amount),), 0)
    return sign_entry(entry, swarm.genesis.id, owner.sign), state


async def ask(node: LedgerNode, member: LedgerNode, signed: bytes, state: AccountState) -> Voted:
    request = AskEntryVote(signed, state.to_bytes(), Evidence())
    return await call(node.transport, member.peer, LEDGER_PROTOCOL, request, Voted)


async def test_two_entries_of_one_number_freeze_their_owner_everywhere(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        _, two, three, four = await swarm.add_all(4)
        one, state_one = first_entry(swarm, two, 900 * CREDIT)
        other, state_other = first_entry(swarm, three, 900 * CREDIT)
        await ask(four, two, one.raw, state_one)
        await ask(four, three, other.raw, state_other)
        with pytest.raises(RemoteError, match="two entries 1 of this account"):
            await ask(four, two, other.raw, state_other)
        await until(lambda: all(node.wallet.replica.frozen(identity(1).peer) for node in swarm.nodes.values()))
        with pytest.raises(StateError, match="frozen"):
            await swarm[1].wallet.write((Pay(two.peer, CREDIT),))
        assert all(len(node.wallet.replica) == 0 for node in swarm.nodes.values())


async def test_a_daemon_on_an_old_copy_of_its_files_goes_on_from_what_is_certified(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await one.stop()
        shutil.copytree(tmp_path / "node-1", tmp_path / "copy")
        one = await swarm.add(1)
        await one.wallet.write((Pay(two.peer, 10 * CREDIT),))
        await one.stop()
        one = await swarm.add(1, state="copy")
        signed = await one.wallet.write((Pay(two.peer, 100 * CREDIT),))
        assert signed.entry.seq == 3
        await two.until(lambda: two.balance == 111 * CREDIT)
        assert any("newer than our own file" in event.text for event in one.deps.events.recent(50))


async def test_a_daemon_on_an_old_copy_brings_an_entry_to_its_end_that_only_members_know(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, four = await swarm.add_all(4)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await one.stop()
        shutil.copytree(tmp_path / "node-1", tmp_path / "copy")
        one = await swarm.add(1)
        await one.wallet.write((Pay(two.peer, CREDIT),))  # by now it knows its newest entry
        await three.stop()
        await four.stop()
        lost = await one.wallet.write((Pay(two.peer, 10 * CREDIT),), wait=False)
        await trio.sleep(5)
        await one.stop()
        await swarm.add(3)
        await swarm.add(4)
        one = await swarm.add(1, state="copy")
        signed = await one.wallet.write((Pay(two.peer, 100 * CREDIT),))
        entry = await one.wallet.explain("3")
        assert (signed.entry.seq, entry.id) == (4, lost.id)
        assert not one.wallet.standing().frozen


async def test_a_restored_backup_signs_again_but_votes_no_more_in_the_committee_whose_votes_it_lost(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        copy = await trio.to_thread.run_sync(account_copy, tmp_path / "node-1" / "self.db")
        await one.wallet.write((Pay(two.peer, 10 * CREDIT),))
        await one.stop()
        (tmp_path / "restored").mkdir()
        await trio.to_thread.run_sync(restore_account, copy, tmp_path / "restored" / "self.db")
        one = await swarm.add(1, state="restored")
        await one.wallet.write((Pay(two.peer, 100 * CREDIT),))
        await two.until(lambda: two.balance == 111 * CREDIT)
        assert not one.deps.self_store.restored
        assert await one.deps.self_store.handed_over() == 0
        assert not one.wallet.standing().frozen


async def test_the_only_member_goes_on_from_a_backup_only_if_its_owner_says_that_it_is_the_newest(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        copy = await trio.to_thread.run_sync(account_copy, tmp_path / "node-1" / "self.db")
        await one.stop()
        for name, newest in (("marked", False), ("newest", True)):
            (tmp_path / name).mkdir()
            target = tmp_path / name / "self.db"
            await trio.to_thread.run_sync(partial(restore_account, copy, target, newest=newest))
        one = await swarm.add(1, state="marked")
        await trio.sleep(30)
        assert one.wallet.standing().obstacle == ALONE
        await one.stop()
        one = await swarm.add(1, state="newest")
        await one.wallet.write((Pay(two.peer, 10 * CREDIT),))
        await two.until(lambda: two.balance == 11 * CREDIT)


async def test_a_restored_backup_on_a_new_disk_learns_of_later_committees_before_it_votes(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    """Members of the first committee say at once that they know nothing of its account; committee 1 votes now."""
    async with ledger_swarm(tmp_path, genesis_of(4, grants={5: 1000}, operator=5), settings=CALM) as swarm:
        *_, five, six = await swarm.add_all(6)
        copy = await trio.to_thread.run_sync(account_copy, tmp_path / "node-1" / "self.db")
        members = tuple(Member(identity(number).peer, 1) for number in (1, 2, 3, 4))
        await change_committee(five.deps, five.wallet, members)
        await until(lambda: swarm[1].wallet.replica.committee.number == 1)
        await five.wallet.write((Pay(six.peer, CREDIT),))
        await swarm[1].stop()
        (tmp_path / "restored").mkdir()
        await trio.to_thread.run_sync(restore_account, copy, tmp_path / "restored" / "self.db")
        begun = trio.current_time()

        def alone_at_first(deps: LedgerDeps) -> LedgerDeps:
            return replace(deps, peers=lambda: deps.peers() if trio.current_time() > begun + 30 else ())

        one = await swarm.add(1, state="restored", tamper=alone_at_first)
        await until(lambda: not one.deps.self_store.restored, 1200)
        assert await one.deps.self_store.handed_over() == 1


async def test_entries_of_another_network_altered_ones_and_replays_are_refused(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, _ = await swarm.add_all(4)
        good, state = first_entry(swarm, two, CREDIT)
        elsewhere = sign_entry(good.entry, replace(swarm.genesis, salt=b"other").id, identity(1).sign)
        for raw in (elsewhere.raw, good.raw[:-1] + bytes((good.raw[-1] ^ 1,)), good.raw + b"\0"):
            with pytest.raises(RemoteError):
                await ask(three, two, raw, state)
        with pytest.raises(RemoteError, match="state"):
            await ask(three, two, good.raw, AccountState(granted=7))
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await swarm.settled()
        head = two.wallet.replica.head(one.peer)
        assert head is not None
        with pytest.raises(RemoteError, match="certified already"):
            await ask(three, two, head.signed.raw, head.state)
        assert not two.wallet.replica.frozen(one.peer)


async def test_members_that_vote_for_both_of_two_entries_are_proven_guilty(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    """Two thirds of the committee would have to lie for that; whoever sees both certificates can prove it."""
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        two, three = await swarm.add(2), await swarm.add(5)
        heads = []
        for payee in (two, three):
            signed, state = first_entry(swarm, payee, 900 * CREDIT)
            vote = EntryVote(0, signed.entry.account, 1, signed.id)
            liars = [identity(number) for number in (1, 3, 4)]
            votes = tuple(sign_vote(vote, swarm.genesis.id, liar.peer, liar.sign) for liar in liars)
            heads.append(make_head(signed, state, certificate_of(votes)))
        for head in heads:
            await three.deps.gossip.publish(topic(swarm.genesis.id, "head"), head.raw)
        await until(lambda: len(three.wallet.replica.proofs()) == 3)
        assert {culprit for culprit, _ in two.wallet.replica.proofs()} == {identity(n).peer for n in (1, 3, 4)}
