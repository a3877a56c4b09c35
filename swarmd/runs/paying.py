"""The payer's side of a run: receipts come in, vouchers go out, beside the session's other traffic.

Nothing here holds up a step. A voucher is on our disk, with the receipts it pays for, before its provider gets it. If
the disk or the ledger fails, vouchers wait and lanes stay open; providers decide how long they go on.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

import trio

from swarmd.ledger.jobsdb import WorkLine
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation, SwarmdError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.receipts import (
    CountersignedReceipt,
    SignedReceipt,
    check_receipt,
    sign_receipt,
    work_root,
)
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, open_release, sign_voucher
from swarmd.protocols.messages import StepDone
from swarmd.protocols.pay_messages import LaneReleased, Receipted, VoucherNote
from swarmd.protocols.records import to_value
from swarmd.runs.deps import RunDeps
from swarmd.runs.funding import Funding
from swarmd.runs.receipting import OpenEnd, Reach, Signer
from swarmd.runs.record import RunRecord
from swarmd.runs.spending import spending_of
from swarmd.scheduler.paying import Due, Payer
from swarmd.scheduler.witness import Course, Evidence

GATHER_SECONDS, REST_SECONDS = 0.05, 0.25
"""Before a round of vouchers, for receipts of one window come close together; and after it."""
Send = Callable[[PeerId, object], Awaitable[None]]


class Paymaster:
    """Pays the stages of one funded term. Its methods are for the trio thread."""

    def __init__(self, record: RunRecord, deps: RunDeps, funding: Funding, send: Send) -> None:
        """``send`` gives a message to a member, and does nothing for one that is gone."""
        assert record.plan is not None
        self._record, self._deps, self._funding, self._send = record, deps, funding, send
        self._stages = {stage.peer: number for number, stage in enumerate(record.plan.stages)}
        reach = _reach(record)
        cuts = (0, *(stage.end for stage in record.plan.stages))
        course = Course(
            run=record.run, term=record.term, cuts=cuts, micro_batches=reach.micro_batches,
            start=reach.start, steps=reach.steps, pay_every=reach.pay_every,
        )  # fmt: skip
        self._payer = Payer(course, funding.parts, deps.identity.peer)
        signer = Signer(reach, deps.network.id, deps.identity)
        self._head, self._tail = OpenEnd(0, signer), OpenEnd(cuts[-1], signer)
        self._reported = [reach.start] * len(self._stages)
        self._notes: dict[PeerId, VoucherNote] = {}
        self._wake = trio.Event()
        self._busy = trio.Lock()

    async def serve(self) -> None:
        """Send vouchers as they become due, until cancelled."""
        async with trio.open_nursery() as nursery:
            while True:
                await self._wake.wait()
                await trio.sleep(GATHER_SECONDS)
                self._wake = trio.Event()
                for peer, note in await self.pay():
                    nursery.start_soon(self._send, peer, note)
                await trio.sleep(REST_SECONDS)

    def stepped(self, peer: PeerId, report: StepDone) -> None:
        """A stage has committed a step; the ends of the pipeline are ours to witness."""
        stage = self._stages[peer]
        self._reported[stage] = report.step
        if stage == 0:
            self._ours(self._head.stepped(report.step, None))
        if stage == len(self._stages) - 1:
            self._ours(self._tail.stepped(report.step, report.loss))

    def receipted(self, peer: PeerId, message: Receipted) -> None:
        """A member signed for a boundary. Raises ProtocolViolation for what it cannot sign."""
        signed = message.receipt
        if signed.signer != peer:
            raise ProtocolViolation("a receipt signed by another than its sender")
        check_receipt(signed, self._deps.network.id)
        self._said(self._payer.receipted(self._stages[peer], signed))

    def released(self, peer: PeerId, message: LaneReleased) -> tuple[int, bytes]:
        """(lane, voucher) that a provider's release lets us settle. Raises ProtocolViolation."""
        stage = self._stages[peer]
        lane, total = self._funding.parts[stage].lane, self._payer.total(stage)
        if open_release(message.release, self._deps.network.id) != LaneRelease(
            self._deps.identity.peer, lane, peer, total
        ):
            raise ProtocolViolation("a release of another lane, or at another total than its newest voucher")
        note = self._notes.get(peer)
        return lane, note.voucher if note else b""

    def newest(self, peer: PeerId) -> tuple[int, VoucherNote | None]:
        """The newest voucher for a provider, and its total in micro-credits."""
        return self._payer.total(self._stages[peer]), self._notes.get(peer)

    def close(self) -> None:
        """No more receipts come: what only one end could sign for counts from now on (``scheduler.witness``)."""
        self._ours(self._head.last())
        self._ours(self._tail.last())
        self._payer.close(self._reported)

    async def pay(self) -> tuple[tuple[PeerId, VoucherNote], ...]:
        """Sign what is due and keep it; the notes to send. What the disk did not take stays due."""
        notes: list[tuple[PeerId, VoucherNote]] = []
        async with self._busy, trio.open_nursery() as nursery:  # at once: they share a write to the disk
            for due in self._payer.due():
                nursery.start_soon(self._pay, due, notes)
        return tuple(notes)

    async def _pay(self, due: Due, notes: list[tuple[PeerId, VoucherNote]]) -> None:
        try:
            note = await self._voucher(due)
        except SwarmdError as error:
            self._deps.events.warning(f"a voucher waits: {error.message}", run=self._record.run)
            return
        notes.append((self._funding.parts[due.stage].peer, note))
        spending = self._record.spending
        if spending is not None:
            spent, left = spending.spent + due.amount, max(0, spending.left - due.amount)
            self._record.spending = replace(spending, spent=spent, left=left)

    async def _voucher(self, due: Due) -> VoucherNote:
        part, me = self._funding.parts[due.stage], self._deps.identity.peer
        receipts = tuple(both for each in due.evidence if (both := self._both(each)) is not None)
        root = work_root(both.one.receipt for both in receipts)
        voucher = Voucher(
            payer=me, lane=part.lane, run=self._record.run, provider=part.peer,
            number=due.number, total=due.total, work_root=root,
        )  # fmt: skip
        raw = sign_voucher(voucher, self._deps.network.id, self._deps.identity.sign)
        kept = tuple(encode(to_value(each)) for each in receipts)
        lines = (self._line(due, voucher),)
        await self._deps.jobs.keep_voucher(me, part.lane, raw, due.total, due.number, kept, lines)
        self._payer.paid(due)
        self._notes[part.peer] = note = VoucherNote(raw, receipts, due.forwards, due.backwards)
        return note

    def _both(self, evidence: Evidence) -> CountersignedReceipt | None:
        """One end alone is witnessed by us; where we were that end, there is nobody to witness it."""
        one, other = evidence
        if other is None:
            me = self._deps.identity
            other = sign_receipt(one.receipt, self._deps.network.id, me.peer, me.sign)
        return None if one.signer == other.signer else CountersignedReceipt(one, other)

    def _line(self, due: Due, voucher: Voucher) -> WorkLine:
        assert self._record.plan is not None
        here = self._record.plan.stages[due.stage]
        return WorkLine(
            run=voucher.run, term=self._record.term, stage=due.stage, provider=voucher.provider,
            first_layer=here.first, last_layer=here.end - 1, first_step=due.first_step, end_step=due.end_step,
            forwards=due.forwards, backwards=due.backwards, operations=due.operations, amount=due.amount,
            voucher=voucher.number, work_root=voucher.work_root,
        )  # fmt: skip

    def _ours(self, signed: SignedReceipt | None) -> None:
        if signed is not None:
            self._said(self._payer.ours(signed))

    def _said(self, disagreement: str) -> None:
        if disagreement:
            self._deps.events.warning(disagreement, run=self._record.run)
        self._wake.set()


async def settle(record: RunRecord, deps: RunDeps, lane: int, voucher: bytes, release: bytes) -> None:
    """Settle a released lane; however long the committee takes, and never to the run's harm."""
    try:
        known = await deps.jobs.lane(deps.identity.peer, lane)
        if known is not None:
            await deps.jobs.save_lane(replace(known, release=release, state="closing", updated=time.time()))
        await deps.wallet.settle_lane(lane, voucher, release)
        record.spending = await spending_of(record, deps.jobs)
    except SwarmdError as error:
        deps.events.warning(f"lane {lane} is not settled: {error.message}", run=record.run)


def _reach(record: RunRecord) -> Reach:
    return Reach(
        run=record.run,
        spec=record.spec.spec_id,
        term=record.term,
        micro_batches=record.spec.batch.micro_batches,
        start=record.start_step,
        steps=record.spec.schedule.steps,
        pay_every=record.budget.pay_every,
    )
