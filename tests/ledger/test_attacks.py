"""Attacks on the ledger by peers, payers, members and strangers, each by its name, and what comes of it.

Others are where the parts they aim at are tested: forks and restored copies in ``test_double_spend`` and
``test_store_backup``, clocks in ``test_committee``, refunds before a claim in ``test_lanes``, bytes in
``tests/protocols/ledger/test_wire``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from swarmd.ledger.claims import FREE_PLACES, least_of_a_stranger
from swarmd.ledger.deps import LedgerSettings
from swarmd.ledger.pool import MAX_BYTES, Pool
from swarmd.ledger.topics import topic
from swarmd.ledger.wallet import LaneAsk
from swarmd.net.rpc import serve_rpc
from swarmd.protocols.errors import ProtocolViolation, RemoteError
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import MAX_COUNTERPARTIES, AccountState, Lane, Total
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.buckets import bucket_of
from swarmd.protocols.ledger.entry import FIRST_PREV, Claim, Entry, Pay, SignedEntry, open_entry, sign_entry
from swarmd.protocols.ledger.genesis import Limits
from swarmd.protocols.ledger.handover import Handover
from swarmd.protocols.ledger.heads import make_head
from swarmd.protocols.ledger.messages import (
    BUCKETS,
    LEDGER_PROTOCOL,
    AskCloseVote,
    Buckets,
    GetBuckets,
    GetHeads,
    GetPending,
    GetProofs,
    GetReport,
    HeadLine,
    Heads,
    Hello,
    Pending,
    Proofs,
    ReportPart,
    Summary,
    Voted,
)
from swarmd.protocols.ledger.proofs import Fork, encode_proof
from swarmd.protocols.ledger.votes import CloseVote, EntryVote, certificate_of, sign_vote
from swarmd.protocols.signing import parse_signed
from tests.ledger.nodes import (
    CALM,
    CREDIT,
    EPOCH,
    RUN,
    LedgerSwarm,
    genesis_of,
    identity,
    ledger_swarm,
    until,
)
from tests.ledger.test_double_spend import ask, first_entry
from tests.ledger.test_lanes import provider_has

pytestmark = pytest.mark.slow

LIAR = 99
_ED25519_ORDER = 2**252 + 27742317777372353535851937790883648493
Answers = dict[type[Any], Callable[[PeerId, Any], Any]]


def strangers_entry(swarm: LedgerSwarm, number: int, payer: PeerId, amount: int) -> SignedEntry:
    """The first entry of a key that nobody ever paid."""
    who = identity(number)
    entry, _ = next_entry(who.peer, 1, FIRST_PREV, AccountState(granted=0), (Claim(payer, amount),), 0)
    return sign_entry(entry, swarm.genesis.id, who.sign)


def fork_of(swarm: LedgerSwarm, number: int) -> bytes:
    """A faultless proof against a key."""
    return encode_proof(Fork(*(strangers_entry(swarm, number, identity(9).peer, each).raw for each in (1, 2))))


@asynccontextmanager
async def liar(swarm: LedgerSwarm, answers: Answers) -> AsyncIterator[list[str]]:
    """A peer of everybody that answers what it likes; gives what it was asked so far."""
    asked: list[str] = []

    def noted(answer: Callable[[PeerId, Any], Any]) -> Callable[[PeerId, Any], Any]:
        async def note(peer: PeerId, request: object) -> object:
            asked.append(type(request).__name__)
            return await answer(peer, request)

        return note

    async with swarm.network.node(identity(LIAR).seed) as (transport, _):
        serve_rpc(transport, LEDGER_PROTOCOL, {kind: noted(answer) for kind, answer in answers.items()})
        yield asked


async def answers_never(peer: PeerId, request: object) -> object:
    await trio.sleep_forever()
    raise AssertionError


def other_heads(asked: Hello) -> Summary:
    """Of a peer whose heads all differ."""
    return Summary(replace(asked, accounts=9, root=bytes(32)), b"\x07" * (BUCKETS * 32))


# Double spend, hide and reveal


async def test_hide_and_reveal_an_entry_that_was_certified_in_secret_is_the_only_one_of_its_number(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, grants={1: 1000, 2: 7})) as swarm:
        _, two, three, four = await swarm.add_all(4)
        secret, state = first_entry(swarm, two, 900 * CREDIT)
        votes = [(await ask(four, member, secret.raw, state)).vote for member in (two, three)]
        own = sign_vote(votes[0].vote, swarm.genesis.id, identity(1).peer, identity(1).sign)
        hidden = make_head(secret, state, certificate_of((*votes, own)))
        other, other_state = first_entry(swarm, three, 900 * CREDIT)
        with pytest.raises(RemoteError, match="two entries 1"):
            await ask(four, two, other.raw, other_state)
        await until(lambda: all(node.wallet.replica.frozen(identity(1).peer) for node in (two, three, four)))
        await four.deps.gossip.publish(topic(swarm.genesis.id, "head"), hidden.raw)
        await two.until(lambda: two.balance == 907 * CREDIT)
        assert three.balance == 0
        assert two.wallet.replica.supply().total == 1007 * CREDIT


# A member that lies


async def test_a_member_that_closes_a_lane_at_all_it_holds_does_not_make_its_payer_pay_that(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        payer, two, three = await swarm.add_all(3)
        liars = 0
        who = identity(4)

        async def closed(peer: PeerId, asked: AskCloseVote) -> Voted:
            nonlocal liars
            liars += 1
            vote = CloseVote(0, asked.payer, asked.lane, 100 * CREDIT)
            return Voted(sign_vote(vote, swarm.genesis.id, who.peer, who.sign))

        async with swarm.network.node(who.seed) as (transport, _):
            serve_rpc(transport, LEDGER_PROTOCOL, {AskCloseVote: closed})
            await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), int(EPOCH) + 7200)
            voucher = await provider_has(two, payer, 1, 30 * CREDIT)
            release = two.release(payer.peer, 1, 30 * CREDIT)
            assert await payer.wallet.settle_lane(1, voucher, release) == 30 * CREDIT
        assert liars
        await two.until(lambda: two.balance == 30 * CREDIT)
        assert three.wallet.replica.state(payer.peer).balance == 970 * CREDIT


async def test_a_member_that_knows_nothing_newer_does_not_make_an_old_copy_sign_twice(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    """One of seven members answers, and says that it has no entry of ours; the others are away."""
    async with ledger_swarm(tmp_path, genesis_of(7)) as swarm:
        who = identity(7)

        async def no_heads(peer: PeerId, asked: GetHeads) -> Heads:
            return Heads(())

        async def nothing(peer: PeerId, asked: GetPending) -> Pending:
            return Pending(b"")

        async with swarm.network.node(who.seed) as (transport, _):
            serve_rpc(transport, LEDGER_PROTOCOL, {GetHeads: no_heads, GetPending: nothing})
            one = await swarm.add(1)
            with trio.move_on_after(60):
                await one.wallet.write((Pay(identity(2).peer, CREDIT),), wait=False)
            assert await one.deps.self_store.newest() is None
            assert "2 of 7 committee members have said" in one.wallet.standing().obstacle
            for number in range(2, 6):
                await swarm.add(number)
            await one.until(lambda: one.wallet.replica.seq(one.peer) == 1)


# A payer that over-issues, or denies


async def test_a_payer_over_issues_vouchers_and_its_provider_still_claims_everything_else(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    """Lanes with less than their vouchers say, and vouchers of other runs, hold up nothing."""
    limits = Limits(entry_seconds=0, grace_seconds=3600)
    genesis = genesis_of(4, grants={1: 1000, 2: 1000, 3: 1000}, limits=limits)
    async with ledger_swarm(tmp_path, genesis, settings=CALM) as swarm:
        cheat, honest, provider, _ = await swarm.add_all(4)
        expires = int(EPOCH) + 7200
        await cheat.wallet.open_lanes(RUN, (LaneAsk(provider.peer, CREDIT),) * 2, expires + 10**6)
        await honest.wallet.open_lanes(RUN, (LaneAsk(provider.peer, 100 * CREDIT),), expires)
        await swarm.settled()
        for lane in (1, 2, 3):  # there is no lane 3
            await provider_has(provider, cheat, lane, 60 * CREDIT)
        await provider_has(provider, honest, 1, 40 * CREDIT)
        await honest.stop()
        await provider.until(lambda: provider.balance == 1040 * CREDIT, 7200)
        await cheat.wallet.write((Pay(provider.peer, CREDIT),))
        await provider.until(lambda: provider.balance == 1041 * CREDIT)
        assert not provider.wallet.counters().get("ledger_offences")


def test_a_provider_of_a_full_account_is_not_taken_on() -> None:
    """A lane whose provider has no place among those paid could never be settled."""
    sent = tuple(Total(PeerId(f"{number:04}"), 1) for number in range(MAX_COUNTERPARTIES))
    full = AccountState(granted=CREDIT, sent=sent)
    known = replace(full, lanes_opened=1, lanes=(Lane(1, RUN, PeerId("0007"), 1, 1),))
    assert known.locked == 1
    with pytest.raises(ValueError, match="providers of open lanes"):
        replace(full, lanes_opened=1, lanes=(Lane(1, RUN, PeerId("stranger"), 1, 1),))


# Malleable bytes, replays


def test_malleable_signatures_are_refused_and_no_second_id_comes_of_them() -> None:
    genesis, who = genesis_of(4), identity(1)
    entry, _ = next_entry(who.peer, 1, FIRST_PREV, AccountState(granted=CREDIT), (Pay(identity(2).peer, 1),), 0)
    signed = sign_entry(entry, genesis.id, who.sign)
    statement = parse_signed(signed.raw, limit=1 << 16)
    half, scalar = statement.signature[:32], int.from_bytes(statement.signature[32:], "little")
    twin = replace(statement, signature=half + (scalar + _ED25519_ORDER).to_bytes(32, "little"))
    with pytest.raises(ProtocolViolation, match="signature"):
        open_entry(twin.to_bytes(), genesis.id)


async def test_replay_of_a_voucher_on_another_lane_network_or_after_settlement_claims_nothing(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4), settings=CALM) as swarm:
        payer, two, three, _ = await swarm.add_all(4)
        asks = (LaneAsk(two.peer, 50 * CREDIT), LaneAsk(two.peer, 50 * CREDIT))
        await payer.wallet.open_lanes(RUN, asks, int(EPOCH) + 7200)
        await swarm.settled()
        voucher = await provider_has(two, payer, 1, 30 * CREDIT)
        await two.wallet.claim_lane(payer.peer, 1, voucher)
        with pytest.raises(RemoteError, match="another lane"):
            await two.wallet.claim_lane(payer.peer, 2, voucher)
        with pytest.raises(RemoteError, match="not for us"):
            await three.wallet.claim_lane(payer.peer, 1, voucher)
        await payer.wallet.settle_lane(1, voucher, two.release(payer.peer, 1, 30 * CREDIT))
        await swarm.settled()
        await two.wallet.claim_lane(payer.peer, 1, voucher)
        await two.wallet.claim_lane(payer.peer, 1, voucher)
        assert two.balance == 30 * CREDIT


# Floods, orphans, dust


async def test_a_flood_of_proofs_against_keys_of_nobody_takes_no_room(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        for number in range(100, 120):
            await one.deps.gossip.publish(topic(swarm.genesis.id, "proof"), fork_of(swarm, number))
        await until(lambda: two.wallet.counters().get("ledger_proofs_against_nobody", 0) == 20)
        assert two.wallet.replica.proofs() == ()
        assert two.wallet.counters()["ledger_gossip_proof_ignore"] == 20
        await two.deps.gossip.publish(topic(swarm.genesis.id, "proof"), fork_of(swarm, 1))
        await until(lambda: all(node.wallet.replica.frozen(one.peer) for node in swarm.nodes.values()))


async def test_a_peer_that_offers_proofs_against_nobody_is_compared_with_all_the_same(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:

        async def summary(peer: PeerId, asked: Hello) -> Summary:
            return Summary(replace(asked, proofs=b"\x07" * 32), swarm[1].wallet.replica.buckets.hashes())

        async def proofs(peer: PeerId, asked: GetProofs) -> Proofs:
            return Proofs(tuple(fork_of(swarm, number) for number in range(100, 110)), True)

        async with liar(swarm, {Hello: summary, GetProofs: proofs}) as asked:
            one, two, *_ = await swarm.add_all(4)
            await until(lambda: asked.count("GetProofs") >= 4)
            await one.wallet.write((Pay(two.peer, CREDIT),))
            assert not any(node.wallet.replica.proofs() for node in swarm.nodes.values())


async def test_a_flood_of_orphans_signed_by_strangers_is_kept_nowhere(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, _ = await swarm.add_all(4)
        for number in range(100, 130):
            orphan = strangers_entry(swarm, number, one.peer, CREDIT)
            state = AccountState(granted=0, received=(Total(one.peer, CREDIT),))
            with pytest.raises(RemoteError, match="0 are certified here"):
                await ask(three, two, orphan.raw, state)
            await three.deps.gossip.publish(topic(swarm.genesis.id, "entry"), orphan.raw)
        await until(lambda: two.wallet.counters().get("ledger_gossip_entry_ignore", 0) == 30)
        assert len(two.wallet.keeper.pool) == 0
        late = next_entry(one.peer, 1, FIRST_PREV, AccountState(granted=1000 * CREDIT), (Pay(two.peer, 1),), 0)[0]
        orphan = sign_entry(replace(late, seq=9, prev=EntryId("7" * 64)), swarm.genesis.id, one.identity.sign)
        with pytest.raises(RemoteError, match="newest certified one"):
            await ask(three, two, orphan.raw, AccountState(granted=1000 * CREDIT, sent=(Total(two.peer, 1),)))
        await one.wallet.write((Pay(two.peer, CREDIT),))


def test_a_flood_of_long_entries_pushes_the_oldest_out_of_the_pool() -> None:
    pool, long = Pool(), MAX_BYTES // 64
    for number in range(100):
        entry = Entry(
            account=identity(number + 1).peer, seq=1, prev=FIRST_PREV, time=0,
            ops=(Pay(identity(number + 2).peer, 1),), state_hash=bytes(32),
        )  # fmt: skip
        pool.offer(SignedEntry(entry, EntryId(f"{number:064x}"), bytes(long)), 0.0)
    assert len(pool) == 64
    assert pool.get(identity(1).peer) is None
    pool.drop(identity(100).peer, 1)
    assert len(pool) == 63


async def test_dust_from_many_accounts_leaves_room_for_those_who_pay(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert [least_of_a_stranger(payers) for payers in (0, FREE_PLACES - 1, FREE_PLACES)] == [0, 0, 1000]
    assert sum(map(least_of_a_stranger, range(MAX_COUNTERPARTIES))) > 500 * CREDIT
    monkeypatch.setattr("swarmd.ledger.claims.FREE_PLACES", 1)
    grants = {number: 10 for number in range(1, 7)}
    async with ledger_swarm(tmp_path, genesis_of(4, grants=grants)) as swarm:
        one, two, three, four, *_ = await swarm.add_all(4)
        await two.wallet.write((Pay(one.peer, 1),))
        await one.until(lambda: one.wallet.replica.state(one.peer).received_from(two.peer))
        await three.wallet.write((Pay(one.peer, 999),))
        await four.wallet.write((Pay(one.peer, CREDIT),))
        await one.until(lambda: one.balance == 11 * CREDIT + 1)
        assert one.wallet.standing().pending_in == 999
        await three.wallet.write((Pay(one.peer, 1),))
        await one.until(lambda: one.balance == 11 * CREDIT + 1001)


def test_numbers_that_no_file_holds_are_no_message() -> None:
    with pytest.raises(ValueError, match="amount"):
        AskCloseVote(identity(1).peer, 2**63, b"", b"")


# A late joiner among liars


async def test_a_late_joiner_eclipsed_by_one_peer_believes_no_head_without_its_certificate(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        signed, state = first_entry(swarm, identity(5), 900 * CREDIT)
        vote = EntryVote(0, signed.entry.account, 1, signed.id)
        strangers = [identity(number) for number in (50, 51, 52)]
        forged = make_head(
            signed, state, certificate_of(tuple(sign_vote(vote, swarm.genesis.id, s.peer, s.sign) for s in strangers))
        )
        claimed = replace(vote, committee=7)
        later = make_head(
            signed,
            state,
            certificate_of(tuple(sign_vote(claimed, swarm.genesis.id, s.peer, s.sign) for s in strangers)),
        )
        line = HeadLine(signed.entry.account, 1, signed.id)
        sent = [forged.raw, later.raw]

        async def summary(peer: PeerId, asked: Hello) -> Summary:
            return other_heads(asked)

        async def bucket(peer: PeerId, asked: GetBuckets) -> Buckets:
            return Buckets((line,) if asked.bucket == bucket_of(line.account) else (), False)

        async def heads(peer: PeerId, asked: GetHeads) -> Heads:
            sent.append(sent.pop(0))
            return Heads((sent[0],))

        async with liar(swarm, {Hello: summary, GetBuckets: bucket, GetHeads: heads}) as asked:
            five = await swarm.add(5, settings=LedgerSettings(sync_every=5.0))
            await until(lambda: asked.count("GetHeads") >= 4)
            assert len(five.wallet.replica) == 0
            assert five.wallet.counters()["ledger_offences"] >= 1


@pytest.mark.parametrize("lie", ["heads it has not", "another bucket", "no account", "backwards"])
async def test_a_late_joiner_takes_no_list_of_a_liar_for_news(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, lie: str
) -> None:
    peers = sorted((identity(number).peer for number in range(20, 40)), key=bucket_of)
    ordered = sorted(peer for peer in peers if bucket_of(peer) == bucket_of(peers[0]))
    lists: dict[str, list[PeerId]] = {
        "heads it has not": ordered,
        "another bucket": [peers[-1]],
        "no account": [PeerId("x" * 100_000)],
        "backwards": [peers[0], peers[0]],
    }
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:

        async def summary(peer: PeerId, asked: Hello) -> Summary:
            return other_heads(asked)

        async def bucket(peer: PeerId, asked: GetBuckets) -> Buckets:
            here = asked.bucket == bucket_of(peers[0])
            return Buckets(tuple(HeadLine(who, 1, EntryId("7" * 64)) for who in lists[lie] if here), here)

        listed: list[PeerId] = []

        async def heads(peer: PeerId, asked: GetHeads) -> Heads:
            listed.extend(set(asked.accounts) - {identity(5).peer})
            return Heads(())

        async with liar(swarm, {Hello: summary, GetBuckets: bucket, GetHeads: heads}) as asked:
            five = await swarm.add(5)
            await until(lambda: five.wallet.counters().get("ledger_offences", 0) >= 1)
            comparisons = asked.count("Hello")
            assert len(listed) <= comparisons * len(ordered)
            assert asked.count("GetBuckets") <= comparisons * BUCKETS


async def test_slow_strangers_do_not_keep_a_late_joiner_from_the_committee(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    settings = LedgerSettings(syncs_at_once=1, vote_timeout=50.0, sync_longest=20.0)
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one = await swarm.add(1)
        await one.wallet.write((Pay(identity(5).peer, CREDIT),))
        async with liar(swarm, {Hello: answers_never}) as asked:
            five = await swarm.add(5, settings=settings)
            await until(lambda: len(five.wallet.replica), 20)
            assert asked
            await until(lambda: five.wallet.counters().get("ledger_comparisons_cut_short"), 60)


async def test_a_peer_that_sends_a_report_for_ever_does_not_hold_up_a_new_member(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmd.ledger.reports.MAX_REPORT_BYTES", 1 << 19)
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:

        async def endless(peer: PeerId, asked: GetReport) -> ReportPart:
            return ReportPart(bytes(1 << 18))

        async with liar(swarm, {GetReport: endless}) as asked:
            one, two = await swarm.add_all(2)
            handover = Handover(bytes(32), bytes(32), identity(LIAR).peer, bytes(64))
            began = trio.current_time()
            with pytest.raises(RemoteError):
                await two.wallet.parts.reports.fetch(handover)
            assert asked.count("GetReport") <= 6
            assert trio.current_time() - began < 60
            assert one.wallet.committee().number == 0
