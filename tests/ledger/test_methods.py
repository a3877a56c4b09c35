"""Credits on the control socket: from real files and a real committee to what people are told."""

from __future__ import annotations

import hashlib
import itertools
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from swarmd.config import Config
from swarmd.control import Method
from swarmd.ledger.books import Books
from swarmd.ledger.energy import EnergyMeter
from swarmd.ledger.jobsdb import serve_job_store
from swarmd.ledger.methods import CreditMethods
from swarmd.protocols.control_credits import invoice_view, ledger_view, payee_view, wallet_view, write_view
from swarmd.protocols.control_earn import NowView, earn_view
from swarmd.protocols.control_entries import explain_view, history_line, receipts_view
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.entry import LaneOpen, Pay, Stake, Unstake
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.ledger.vouchers import open_voucher
from swarmd.protocols.work import amount_of
from tests.ledger.nodes import CREDIT, EPOCH, LedgerNode, genesis_of, identity, ledger_swarm
from tests.ledger.statements import served
from tests.ledger.work import OPERATIONS, PRICE, RUN, lane_record, work

Answer = dict[str, Any]
CAP = 20 * CREDIT
NEIGHBOUR = identity(77).peer
"""A node whose advert is known, and that has no account."""
IDLE = NowView(
    state="idle",
    why_idle="nobody has asked",
    run="",
    stage="",
    steps_per_s=None,
    power_w=None,
    temperature_c=None,
    price=7,
)


def methods_of(node: LedgerNode, folder: Path, *, ours: str = RUN, **settings: object) -> dict[str, Method]:
    """The table of a node that submitted the run ``ours``."""

    def find(prefix: str) -> RunId:
        if prefix and ours.startswith(prefix):
            return RunId(ours)
        raise NotFound("no such run")

    clock = node.deps.clock
    meter = EnergyMeter(folder / "energy.json", lambda: True, lambda: 100.0, 0.0, clock)
    meter.sample(3600.0)
    return CreditMethods(
        node.wallet, Config(**settings), meter, lambda: IDLE, find, lambda peer: "attic" if peer == NEIGHBOUR else None
    ).table()


async def all_of(stream: Any) -> list[Answer]:
    """Everything that a method streams."""
    async with aclosing(stream) as answers:
        return [answer async for answer in answers]


async def with_paid_run(node: LedgerNode, provider: LedgerNode, vouchers: int = 3) -> bytes:
    """A lane of ours with work in it; its newest voucher."""
    expires = int(EPOCH) + 3600
    await node.wallet.write((LaneOpen(RUN, provider.peer, CAP, expires),), note="run abababab")
    lane = lane_record(node.peer, 1, provider.peer, "payer", CAP)
    network = node.wallet.replica.network
    return await work(node.deps.job_store, lane, vouchers, network, node.identity, provider.identity)


async def settle(node: LedgerNode, provider: LedgerNode, voucher: bytes) -> int:
    """End the lane, the provider agreeing."""
    total = open_voucher(voucher, node.wallet.replica.network).total
    return await node.wallet.settle_lane(1, voucher, provider.release(node.peer, 1, total))


async def test_a_wallet_shows_what_is_spent_staked_and_on_its_way(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        table = methods_of(one, tmp_path)
        await one.wallet.write((Pay(two.peer, CREDIT), Stake(30 * CREDIT)))
        await one.wallet.write((Unstake(10 * CREDIT),))
        view = wallet_view(await table["wallet"]({}))
        assert (view.enabled, view.account, view.network_name) == (True, one.peer, "test")
        assert (view.balance, view.bonded, view.seq) == (969 * CREDIT, 20 * CREDIT, 2)
        [item] = view.unbonding
        assert (item.entry, item.amount) == (2, 10 * CREDIT)
        assert item.due == pytest.approx(EPOCH + swarm.genesis.limits.cooldown_seconds, abs=60)
        assert (view.pending, view.frozen, view.obstacle) == (None, False, "")


async def test_a_payment_is_told_until_it_is_final(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        table = methods_of(one, tmp_path)
        said = await all_of(table["pay"]({"peer": two.peer, "amount": 5 * CREDIT, "note": "for the cake"}))
        views = [write_view(each) for each in said]
        assert [view.state for view in views][-1] == "final"
        assert {view.seq for view in views} == {1}
        [line] = [history_line(each) for each in (await table["history"]({}))["lines"]]
        assert (line.entry, line.note, line.state) == (views[-1].entry, "for the cake", "final")
        assert (line.change, line.balance) == (-5 * CREDIT, 995 * CREDIT)
        assert (line.ops[0].kind, line.ops[0].peer, line.ops[0].amount) == ("pay", two.peer, 5 * CREDIT)
        assert line.ops[0].words == f"5 credits to {two.peer[-8:]}"
        await two.until(lambda: two.balance == 5 * CREDIT)
        [claim] = (await methods_of(two, tmp_path)["history"]({}))["lines"]
        assert claim["ops"][0]["words"] == f"5 credits from {one.peer[-8:]}"
        assert claim["change"] == 5 * CREDIT


async def test_a_payment_without_a_quorum_says_who_is_missing_and_stays_when_its_reader_goes(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three = await swarm.add_all(3)
        table = methods_of(one, tmp_path)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await three.stop()
        async with aclosing(table["pay"]({"peer": two.peer, "amount": CREDIT})) as stream:
            async for answer in stream:
                view = write_view(answer)
                if view.pending is not None and view.pending.weight == 2:
                    break
        assert (view.state, view.pending.quorum if view.pending else 0) == ("pending", 3)
        shown = wallet_view(await table["wallet"]({}))
        assert shown.pending is not None
        assert shown.pending.why
        assert len(shown.pending.reasons) == 2
        known = ledger_view(await table["ledger"]({}))
        assert (known.answering, known.quorum) == (2, 3)
        assert sum(member.answers for member in known.members) == 2
        explained = explain_view(await table["explain"]({"entry": "2"}))
        assert explained.line.state == "pending"
        assert sum(vote.voted for vote in explained.votes) == 2
        assert [(op.kind, op.peer, op.amount) for op in shown.pending.ops] == [("pay", two.peer, CREDIT)]
        assert shown.balance - shown.pending.balance == CREDIT
        async with aclosing(table["stake"]({"amount": CREDIT})) as stream:
            queued = await anext(stream)
            assert queued["state"] == "queued"
            assert queued["why"].startswith("the entry before it is not final yet: ")
        shown = wallet_view(await table["wallet"]({}))
        assert [op.words for op in shown.queued] == ["1 credit staked"]
        assert (shown.waiting, shown.balance - shown.balance_after) == (1, 2 * CREDIT)
        await swarm.add(3)
        await one.until(lambda: one.wallet.standing().pending is None)
        assert one.wallet.standing().seq >= 2


async def test_an_invoice_balances_before_and_after_it_is_settled(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        voucher = await with_paid_run(one, two)
        table = methods_of(one, tmp_path)
        total = amount_of(3 * OPERATIONS, PRICE)
        running = invoice_view(await table["invoice"]({"run": "abab"}))
        assert (running.enabled, running.role, running.payer, running.run) == (True, "payer", one.peer, RUN)
        assert (running.invoiced, running.receipted, running.paid) == (total, total, 0)
        assert (running.locked, running.refunded, running.balanced) == (CAP, 0, True)
        [line] = running.lines
        assert (line.stage, line.provider, line.lane, line.term) == (1, two.peer, 1, 1)
        assert (line.first_layer, line.last_layer, line.first_step, line.end_step) == (2, 3, 0, 24)
        assert (line.forwards, line.backwards, line.operations) == (96, 96, 3 * OPERATIONS)
        assert (line.price, line.amount, line.voucher, line.receipts) == (PRICE, total, 3, 3)
        assert await settle(one, two, voucher) == total
        done = invoice_view(await table["invoice"]({"run": RUN}))
        assert (done.invoiced, done.paid, done.locked, done.refunded) == (total, total, 0, CAP - total)
        assert done.balanced


async def test_an_invoice_in_detail_has_a_line_for_each_voucher(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("swarmd.ledger.invoicing.MAX_LINES", 2)
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        await with_paid_run(one, two)
        table = methods_of(one, tmp_path)
        first = invoice_view(await table["invoice"]({"run": RUN, "detail": True}))
        rest = invoice_view(await table["invoice"]({"run": RUN, "detail": True, "after": 2}))
        assert ([line.voucher for line in first.lines], first.more) == ([1, 2], True)
        assert ([line.voucher for line in rest.lines], rest.more) == ([3], False)
        assert first.receipted == rest.receipted == amount_of(3 * OPERATIONS, PRICE)


async def test_an_invoice_that_does_not_add_up_says_where(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        await with_paid_run(one, two)
        store = one.deps.job_store
        lane = await store.lane(one.peer, 1)
        assert lane is not None
        await store.save_lane(replace(lane, price=PRICE * 2))
        view = invoice_view(await methods_of(one, tmp_path)["invoice"]({"run": RUN}))
        assert not view.balanced
        assert view.problems == ("lane 1: its operations make 12.000008, its lines say 6.000004",)


async def test_receipts_are_the_signed_bytes_and_each_signature_is_checked(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        await with_paid_run(one, two, vouchers=2)
        table = methods_of(one, tmp_path)
        view = receipts_view(await table["receipts"]({"payer": one.peer, "lane": 1, "number": 2}))
        assert view.holds
        [receipt] = view.receipts
        assert (receipt.first_step, receipt.end_step, receipt.forwards) == (8, 16, 32)
        assert set(receipt.signers) == {one.peer, two.peer}
        assert hashlib.sha256(bytes.fromhex(receipt.raw)).hexdigest() == receipt.sha256
        with pytest.raises(NotFound, match="voucher 9"):
            await table["receipts"]({"payer": one.peer, "lane": 1, "number": 9})


async def test_receipts_of_another_network_hold_for_nothing(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    elsewhere = replace(genesis_of(1), name="elsewhere").id
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        lane = lane_record(one.peer, 1, two.peer, "payer", CAP)
        await work(one.deps.job_store, lane, 1, elsewhere, one.identity, two.identity)
        view = receipts_view(await methods_of(one, tmp_path)["receipts"]({"payer": one.peer, "lane": 1, "number": 1}))
        assert (view.root_matches, view.holds) == (True, False)


async def test_an_entry_is_explained_down_to_its_vouchers_and_receipts(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        voucher = await with_paid_run(one, two)
        total = await settle(one, two, voucher)
        table = methods_of(one, tmp_path)
        newest = history_line((await table["history"]({"limit": 1}))["lines"][0])
        view = explain_view(await table["explain"]({"entry": newest.entry[:12]}))
        assert view.line == newest
        assert [op.kind for op in view.line.ops] == ["lane_settle"]
        assert (
            view.line.ops[0].words == f"lane 1 settled: 6.000004 credits paid to {two.peer[-8:]}, 13.999996 of 20 back"
        )
        assert (view.signed, view.state_matches, view.quorum) == (True, True, 3)
        assert view.weight >= 3
        assert all(vote.holds for vote in view.votes if vote.voted)
        assert view.before is not None
        assert (view.before.locked, view.after.locked) == (CAP, 0)
        assert view.after.balance - view.before.balance == CAP - total
        kinds = {each.kind: each for each in view.evidence}
        assert set(kinds) == {"close certificate", "voucher", "release"}
        assert all(each.holds for each in view.evidence)
        assert kinds["voucher"].sha256 == hashlib.sha256(voucher).hexdigest()
        assert kinds["voucher"].vouchers == (1, 2, 3)


async def test_history_goes_back_page_by_page(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        [one] = await swarm.add_all(1)
        for _ in range(5):
            await one.wallet.write((Stake(CREDIT),))
        table = methods_of(one, tmp_path)
        newest = (await table["history"]({"limit": 2}))["lines"]
        older = (await table["history"]({"limit": 2, "before": newest[-1]["seq"]}))["lines"]
        assert [line["seq"] for line in (*newest, *older)] == [5, 4, 3, 2]
        assert {line["change"] for line in (*newest, *older)} == {-CREDIT}


async def test_earnings_go_from_pending_to_final_and_half_of_them_is_held(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one = await swarm.add(1)
        two = await swarm.add(2, target_stake=100 * CREDIT)
        voucher = await with_paid_run(one, two)
        lane = lane_record(one.peer, 1, two.peer, "provider", CAP)
        network = one.wallet.replica.network
        await work(two.deps.job_store, lane, 3, network, one.identity, two.identity)
        settings = {"credit_value": 0.5, "kwh_price": 0.25, "currency": "EUR"}
        table = methods_of(two, tmp_path, ours="cd" * 32, **settings)
        before = earn_view(await table["earn"]({}))
        total = amount_of(3 * OPERATIONS, PRICE)
        assert (before.earned.pending, before.earned.final, before.now) == (total, 0, IDLE)
        [job] = before.earned.jobs
        assert (job.run, job.payer, job.pending, job.number, job.receipts) == (RUN, one.peer, total, 3, 3)
        assert (before.energy.source, before.energy.kwh, before.energy.cost) == ("measured", 0.1, 0.025)
        await settle(one, two, voucher)
        await two.until(lambda: two.wallet.standing().seq > 0)
        after = earn_view(await table["earn"]({}))
        assert (after.earned.pending, after.earned.final, after.earned.today) == (0, total, total)
        assert after.earned.held == total // 2
        assert [day.final for day in after.earned.days] == [total]
        await one.wallet.write((Pay(two.peer, 50 * CREDIT),))
        await two.until(lambda: two.wallet.standing().seq > 1)
        gift = earn_view(await table["earn"]({})).earned
        assert (gift.pending, gift.final, gift.today) == (0, total, total)
        assert [(day.final, len(day.entries)) for day in gift.days] == [(total, 2)]
        assert after.earned.jobs[0].state == "settled"
        assert after.energy.gross == pytest.approx(total / CREDIT * 0.5)
        assert after.energy.net == pytest.approx(total / CREDIT * 0.5 - 0.025)
        assert after.energy.warning == ""
        bill = invoice_view(await table["invoice"]({"run": "abab"}))
        assert (bill.role, bill.payer, bill.paid, bill.balanced) == ("provider", one.peer, total, True)


async def test_energy_that_costs_more_than_the_work_brings_is_a_warning(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        [one] = await swarm.add_all(1)
        table = methods_of(one, tmp_path, credit_value=1.0, kwh_price=20.0, currency="eur")
        energy = earn_view(await table["earn"]({})).energy
        assert (energy.net, energy.currency) == (-2.0, "EUR")
        assert energy.warning == "the energy costs 2 EUR more than the work brings: ask a higher price, or stop"


async def test_the_ledger_says_where_all_credits_are(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        await one.wallet.write((Pay(two.peer, CREDIT), Stake(3 * CREDIT)))
        await two.until(lambda: two.balance == CREDIT)
        await swarm.settled()
        view = ledger_view(await methods_of(one, tmp_path)["ledger"]({}))
        assert (view.committee, view.weight, view.quorum, view.answering, view.accounts) == (0, 4, 3, 4, 2)
        assert all(member.answers and member.in_step for member in view.members)
        assert [member.peer for member in view.members if member.us] == [one.peer]
        assert view.root == two.wallet.replica.buckets.root().hex()
        assert view.supply is not None
        assert (view.supply.total, view.supply.granted) == (1000 * CREDIT, 1000 * CREDIT)
        assert (view.supply.bonded, view.supply.balances) == (3 * CREDIT, 997 * CREDIT)


async def test_a_network_without_credits_says_so_and_writes_nothing(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, Genesis(name="main", salt=b"")) as swarm:
        [one] = await swarm.add_all(1)
        table = methods_of(one, tmp_path)
        assert not wallet_view(await table["wallet"]({})).enabled
        assert not ledger_view(await table["ledger"]({})).enabled
        assert not earn_view(await table["earn"]({})).enabled
        assert not invoice_view(await table["invoice"]({"run": RUN})).enabled
        for name, params in (("history", {}), ("explain", {"entry": "1"})):
            with pytest.raises(UsageError, match="no credits"):
                await table[name](params)
        with pytest.raises(UsageError, match="no credits"):
            await all_of(table["stake"]({"amount": 1}))


async def test_a_receiver_that_was_never_seen_here_is_told_from_those_that_were(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        [one] = await swarm.add_all(1)
        table = methods_of(one, tmp_path)

        async def asked(peer: str) -> tuple[bool, bool, str]:
            view = payee_view(await table["payee"]({"peer": peer}))
            return view.seen, view.us, view.name

        assert await asked(one.peer) == (True, True, "")
        assert await asked(identity(9).peer) == (False, False, "")
        assert await asked(NEIGHBOUR) == (True, False, "attic")
        await one.wallet.write((Pay(identity(9).peer, CREDIT),))
        assert await asked(identity(9).peer) == (True, False, "")


async def test_what_cannot_be_asked_is_refused_in_words(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        [one] = await swarm.add_all(1)
        table = methods_of(one, tmp_path)
        with pytest.raises(UsageError, match="no peer id"):
            table["pay"]({"peer": "bob", "amount": 1})
        for amount in (0, -1, 1 << 63):
            with pytest.raises(UsageError, match="no amount"):
                table["pay"]({"peer": identity(2).peer, "amount": amount})
        with pytest.raises(UsageError, match="too small"):
            await all_of(table["pay"]({"peer": identity(2).peer, "amount": 1001 * CREDIT}))
        with pytest.raises(NotFound, match="no run"):
            await table["invoice"]({"run": "ffff"})
        with pytest.raises(NotFound):
            await table["explain"]({"entry": "99"})


async def test_the_pace_of_another_s_run_comes_from_its_vouchers(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    ticks = itertools.count(EPOCH, 4.0)
    async with (
        ledger_swarm(tmp_path, genesis_of(1)) as swarm,
        served(serve_job_store, tmp_path / "slow.db", clock=lambda: next(ticks)) as store,
    ):
        one, two = await swarm.add_all(2)
        network = one.wallet.replica.network
        books = Books(replace(two.deps, job_store=store), one.wallet.replica)
        lane = lane_record(one.peer, 1, two.peer, "provider", CAP)
        await work(store, lane, 1, network, one.identity, two.identity)
        assert await books.pace(RUN) is None
        await work(store, replace(lane, lane=2), 3, network, one.identity, two.identity)
        assert await books.pace(RUN) == 8 / 4.0
        assert await books.pace("cd" * 32) is None


async def test_what_is_claimed_ahead_of_the_settlement_is_final_and_counts_once(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        voucher = await with_paid_run(one, two)
        lane = lane_record(one.peer, 1, two.peer, "provider", CAP)
        store = two.deps.job_store
        await work(store, lane, 3, one.wallet.replica.network, one.identity, two.identity)
        table = methods_of(two, tmp_path, ours="cd" * 32)
        total = amount_of(3 * OPERATIONS, PRICE)
        await two.wallet.claim_lane(one.peer, 1, voucher)
        ahead = earn_view(await table["earn"]({})).earned
        assert (ahead.pending, ahead.final, ahead.jobs[0].state) == (0, total, "open")
        assert ledger_view(await table["ledger"]({})).supply.in_flight == -total  # type: ignore[union-attr]
        await settle(one, two, voucher)
        await swarm.settled()
        await store.save_lane(replace(lane, state="open"))
        after = earn_view(await table["earn"]({})).earned
        assert (after.pending, after.final, after.jobs[0].state) == (0, total, "settled")
        assert invoice_view(await table["invoice"]({"run": RUN})).paid == total
