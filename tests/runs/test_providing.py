"""A provider checks every voucher, keeps it before it counts it, and asks its payer for what it missed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import pytest
import trio

from swarmd.ledger.wallet import Wallet
from swarmd.net.rpc import call
from swarmd.protocols.errors import ProtocolViolation, Refused, RemoteError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import Lane
from swarmd.protocols.ledger.receipts import CountersignedReceipt, LinkReceipt, sign_receipt, work_root
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, open_release, sign_release, sign_voucher
from swarmd.protocols.pay_messages import (
    PAY_PROTOCOL,
    GetVoucher,
    GiveRelease,
    LaneClosing,
    NewestVoucher,
    Terms,
    VoucherNote,
)
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.runs import collecting
from swarmd.runs.deps import RunDeps
from swarmd.runs.providing import Post, Provider, check_terms
from swarmd.runs.record import RunRecord
from tests.protocols.specs import SPEC
from tests.runs.nodes import TestNode, open_swarm, until
from tests.runs.values import record_of

RUN, CAP, EXPIRES = "1" * 64, 1000, 1_900_000_000
TERMS = Terms(price=10**8, pay_every=2, lane=7, cap=CAP, expires=EXPIRES, max_unpaid_steps=6)


@dataclass
class Lanes:
    """A ledger with one lane, or none."""

    lane: Lane | None = None
    settled: tuple[int, bytes, bytes] | None = None

    async def lane_standing(self, payer: PeerId, lane: int) -> Lane | None:
        return self.lane

    async def settle_lane(self, lane: int, voucher: bytes, release: bytes) -> int:
        self.settled = (lane, voucher, release)
        return 0


@dataclass
class Pair:
    """A payer, and a provider with one stage of one run."""

    payer: TestNode
    node: TestNode
    provider: Provider
    ledger: Lanes
    post: Post
    deps: RunDeps
    """The provider's, with the ledger."""

    def both(self, **changes: Any) -> CountersignedReceipt:
        receipt = LinkReceipt(
            run=RUN, term=1, boundary=0, first_step=1, end_step=3, forwards=6, backwards=0, root=bytes(32)
        )
        receipt = replace(receipt, **changes)
        ends = [self.payer.deps.identity, self.node.deps.identity]
        return CountersignedReceipt(*(sign_receipt(receipt, self.network, who.peer, who.sign) for who in ends))

    @property
    def network(self) -> Any:
        return self.node.deps.network.id

    def note(self, total: int, number: int = 1, **changes: Any) -> VoucherNote:
        receipts = changes.pop("receipts", (self.both(),))
        voucher = Voucher(
            payer=self.payer.peer, lane=7, run=RUN, provider=self.node.peer, number=number, total=total,
            work_root=work_root(both.one.receipt for both in receipts),
        )  # fmt: skip
        raw = sign_voucher(replace(voucher, **changes), self.network, self.payer.deps.identity.sign)
        return VoucherNote(raw, receipts, 6, 6)

    async def kept(self) -> tuple[int, int]:
        lane = await self.node.deps.jobs.lane(self.payer.peer, 7)
        assert lane is not None
        return lane.number, lane.total


@asynccontextmanager
async def pair(
    folder: Path, *, certified: bool = True, clock: Callable[[], float] = trio.current_time
) -> AsyncIterator[Pair]:
    async with open_swarm(folder) as swarm:
        payer, node = await swarm.add(), await swarm.add()
        lane = Lane(7, RUN, node.peer, CAP, EXPIRES)
        ledger = Lanes(lane if certified else None)
        plan = Plan(RUN, 1, 1, (StageAssignment(node.peer, 0, 2, 1, ()),), None)
        post = Post(payer=payer.peer, plan=plan, stage=0, spec=SPEC, start=0)
        deps = replace(node.deps, wallet=cast("Wallet", ledger))
        provider = Provider(deps, post, TERMS, clock)
        await provider.begin()
        yield Pair(payer, node, provider, ledger, post, deps)


async def test_a_good_voucher_is_on_disk_with_its_receipts_and_an_invoice_line(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(300))
        assert await two.kept() == (1, 300)
        assert len(await two.node.deps.jobs.receipts(two.payer.peer, 7, 1)) == 1
        (line,) = await two.node.deps.jobs.work_lines(RUN)
        assert (line.forwards, line.backwards, line.amount, line.first_step, line.end_step) == (6, 6, 300, 1, 3)


async def test_an_older_voucher_or_the_same_again_changes_nothing(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(300, 2))
        for note in (two.note(300, 2), two.note(900, 1)):
            await two.provider.take(note)
        assert await two.kept() == (2, 300)


@pytest.mark.parametrize(
    "changes",
    [
        {"lane": 8},
        {"run": "2" * 64},
        {"provider": "12D3KooWnobody"},
        {"total": CAP + 1},
        {"work_root": bytes([1]) * 32},
    ],
)
async def test_a_voucher_of_another_lane_or_work_or_over_the_cap_is_a_violation(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with pair(tmp_path) as two:
        with pytest.raises(ProtocolViolation):
            await two.provider.take(two.note(**{"total": 300, **changes}))
        assert await two.kept() == (0, 0)


@pytest.mark.parametrize("changes", [{"run": "2" * 64}, {"term": 2}, {"boundary": 1}])
async def test_a_voucher_with_receipts_that_are_not_ours_is_a_violation(
    tmp_path: Path, changes: dict[str, Any]
) -> None:
    async with pair(tmp_path) as two:
        with pytest.raises(ProtocolViolation):
            await two.provider.take(two.note(300, receipts=(two.both(**changes),)))


async def test_a_voucher_with_a_forged_receipt_is_a_violation(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        real = two.both()
        forged = CountersignedReceipt(real.one, replace(real.other, signature=bytes(64)))
        with pytest.raises(ProtocolViolation, match="signature"):
            await two.provider.take(two.note(300, receipts=(forged,)))


async def test_a_newer_voucher_for_less_is_a_violation(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(300, 1))
        with pytest.raises(ProtocolViolation, match="less"):
            await two.provider.take(two.note(300, 2))


async def test_a_voucher_counts_once_its_lane_is_certified(tmp_path: Path) -> None:
    async with pair(tmp_path, certified=False) as two:
        await two.provider.take(two.note(CAP - 1, 1))
        assert await two.kept() == (1, CAP - 1)
        assert two.provider.counted == 0
        two.ledger.lane = Lane(7, RUN, two.node.peer, CAP - 1, EXPIRES)
        await two.provider.take(two.note(CAP, 2, receipts=()))
        assert two.provider.counted == 0, "a smaller lane than the terms name"


async def test_a_provider_waits_a_while_then_stops(tmp_path: Path) -> None:
    now = 0.0
    async with pair(tmp_path, clock=lambda: now) as two:
        assert two.provider.refusal(6) == ""
        assert two.provider.refusal(70) == ""
        now = 9.0
        assert "not paid" in two.provider.refusal(71)
        await two.provider.take(two.note(CAP))
        assert two.provider.refusal(8) == ""
        assert two.provider.refusal(10**6) == ""


async def test_a_lane_that_paid_for_one_term_pays_for_no_other(tmp_path: Path) -> None:
    """Its vouchers would count from nothing again, and the lane holds their total once."""
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(CAP))
        known = await two.node.deps.jobs.lane(two.payer.peer, 7)
        plan = replace(two.post.plan, term=2)
        terms = replace(TERMS, expires=EXPIRES + 10**6)
        again = Provider(two.deps, replace(two.post, plan=plan), terms)
        with pytest.raises(Refused, match="a lane of its own"):
            await again.begin()
        assert await two.node.deps.jobs.lane(two.payer.peer, 7) == known


async def test_a_voucher_does_not_count_once_its_lane_expired(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lane that is over when the run begins, or before it ends, may be closed without its vouchers."""
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(300))
        assert two.provider.counted == 300
        monkeypatch.setattr("time.time", lambda: float(EXPIRES))
        await two.provider.take(two.note(400, 2))
        assert await two.kept() == (2, 400)
        assert two.provider.counted == 300


async def test_a_lane_is_released_at_the_newest_voucher_and_no_other(tmp_path: Path) -> None:
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(300))
        with pytest.raises(Refused, match="300"):
            await two.provider.release(299)
        release = open_release(await two.provider.release(300), two.network)
        assert release == LaneRelease(two.payer.peer, 7, two.node.peer, 300)
        lane = await two.node.deps.jobs.lane(two.payer.peer, 7)
        assert lane is not None
        assert lane.state == "open"


def test_terms_below_what_a_node_asks_are_refused() -> None:
    check_terms(TERMS, 10**8)
    check_terms(None, 0)
    with pytest.raises(Refused, match="pays 0"):
        check_terms(None, 1)
    with pytest.raises(Refused, match="asks 100,000,001"):
        check_terms(TERMS, 10**8 + 1)


# --- a provider that was away


@asynccontextmanager
async def missed(folder: Path, monkeypatch: pytest.MonkeyPatch, *, over: bool) -> AsyncIterator[tuple[Pair, RunRecord]]:
    """The payer has a voucher that its provider never got."""
    monkeypatch.setattr(collecting, "FIRST_SECONDS", 0.0)
    monkeypatch.setattr(collecting, "EVERY_SECONDS", 0.05)
    async with pair(folder) as two:
        record = record_of(two.payer.deps)
        lane = await two.node.deps.jobs.lane(two.payer.peer, 7)
        assert lane is not None
        jobs = two.payer.deps.jobs
        await jobs.save_lane(replace(lane, role="payer"))
        await jobs.keep_voucher(two.payer.peer, 7, two.note(300).voucher, 300, 1, (), ())
        deps = replace(two.payer.deps, wallet=cast("Wallet", two.ledger))
        async with trio.open_nursery() as nursery:
            collecting.serve_pay(deps, lambda run, number: record if over else None, nursery)
            yield two, record
            nursery.cancel_scope.cancel()


async def test_a_provider_that_comes_back_finds_its_voucher_and_lets_the_lane_close(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with missed(tmp_path, monkeypatch, over=True) as (two, _):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(collecting.collect_pay, two.node.deps)
            await until(lambda: two.ledger.settled)
            nursery.cancel_scope.cancel()
        assert await two.kept() == (1, 300)
        assert two.ledger.settled is not None
        lane, voucher, release = two.ledger.settled
        assert (lane, voucher) == (7, two.note(300).voucher)
        assert open_release(release, two.network).total == 300


async def test_while_a_run_goes_on_its_lane_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with missed(tmp_path, monkeypatch, over=False) as (two, _):
        with trio.move_on_after(20):
            async with trio.open_nursery() as nursery:
                nursery.start_soon(collecting.collect_pay, two.node.deps)
                while await two.kept() != (1, 300):
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
        assert await two.kept() == (1, 300)
        assert two.ledger.settled is None


async def test_a_payer_answers_only_the_lanes_provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with missed(tmp_path, monkeypatch, over=True) as (two, _):
        us, payer = two.node.deps, two.payer.peer
        with pytest.raises(RemoteError, match="not yours"):
            await call(us.transport, payer, PAY_PROTOCOL, GetVoucher(8), NewestVoucher)
        wrong = sign_release(LaneRelease(payer, 7, us.identity.peer, 299), two.network, us.identity.sign)
        with pytest.raises(ProtocolViolation, match="another total"):
            await call(us.transport, payer, PAY_PROTOCOL, GiveRelease(wrong), LaneClosing)


async def test_a_payer_that_gives_a_strange_voucher_is_not_believed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with missed(tmp_path, monkeypatch, over=True) as (two, _):
        strange = two.note(400, 2, run="2" * 64).voucher
        await two.payer.deps.jobs.keep_voucher(two.payer.peer, 7, strange, 400, 2, (), ())
        with trio.move_on_after(0.3):
            await collecting.collect_pay(two.node.deps)
        assert await two.kept() == (0, 0)


async def test_a_released_lane_takes_no_more_vouchers(tmp_path: Path) -> None:
    """A payer that asks for the release early could settle at it, whatever its later vouchers say."""
    async with pair(tmp_path) as two:
        await two.provider.take(two.note(300))
        await two.provider.release(300)
        with pytest.raises(ProtocolViolation, match="after its lane was released"):
            await two.provider.take(two.note(400, 2, receipts=()))
        assert await two.kept() == (1, 300)
