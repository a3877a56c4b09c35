"""The provider's side of pay: which terms it takes, what it checks of a voucher, and when it has waited long enough."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import trio

from swarmd.ledger.jobsdb import LaneRecord, WorkLine
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.receipts import SignedReceipt, check_receipt, sign_receipt, work_root
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, open_voucher, sign_release
from swarmd.protocols.pay_messages import Terms, VoucherNote
from swarmd.protocols.records import to_value
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan
from swarmd.protocols.work import amount_of, backward_operations, forward_operations
from swarmd.runs.deps import RunDeps
from swarmd.scheduler.gate import Gate


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One stage of one plan on this node."""

    payer: PeerId
    plan: Plan
    stage: int
    spec: JobSpec
    start: int
    """Steps committed before the term."""

    @property
    def words(self) -> str:
        """The stage, for people."""
        here = self.plan.stages[self.stage]
        return f"stage {self.stage}, layers {here.first}-{here.end - 1}"

    def operations(self, forwards: int, backwards: int) -> int:
        """Of so many micro-batches."""
        here = self.plan.stages[self.stage]
        return forwards * forward_operations(self.spec, here.first, here.end) + backwards * backward_operations(
            self.spec, here.first, here.end
        )


def check_terms(terms: Terms | None, asked: int) -> None:
    """Raises Refused for terms under what this node asks."""
    offered = terms.price if terms else 0
    if offered < asked:
        raise Refused(
            f"this node asks {asked:,} micro-credits per 10^12 operations, and the run pays {offered:,}",
            hint="read its price again: its owner may have changed it",
        )


class Provider:
    """One paid stage. Every voucher is on disk before it counts."""

    def __init__(self, deps: RunDeps, post: Post, terms: Terms, clock: Callable[[], float] = trio.current_time) -> None:
        """``clock`` gives seconds that only move forward."""
        self._clock = clock
        self._deps, self._post, self._terms = deps, post, terms
        each = post.spec.batch.micro_batches
        self._gate = Gate(
            price=terms.price,
            operations=post.operations(each, each),
            start=post.start,
            max_unpaid=terms.max_unpaid_steps,
        )
        self._newest: Voucher | None = None
        self._counted = 0
        self._certified = self._released = False
        self._overdue_since: float | None = None

    @property
    def total(self) -> int:
        """Micro-credits of the newest voucher."""
        return self._newest.total if self._newest else 0

    @property
    def counted(self) -> int:
        """Micro-credits of vouchers that a certified lane covers."""
        return self._counted

    async def begin(self) -> None:
        """Remember the lane, and look whether it is certified.

        Raises Refused for a lane that is known here: its vouchers would count anew, and it holds their total once.
        """
        terms, post, now = self._terms, self._post, time.time()
        if await self._deps.jobs.lane(post.payer, terms.lane) is not None:
            raise Refused(f"lane {terms.lane} of {short(post.payer)} was taken before: a term has a lane of its own")
        lane = LaneRecord(
            payer=post.payer, lane=terms.lane, run=post.plan.run, provider=self._deps.identity.peer,
            role="provider", price=terms.price, cap=terms.cap, expires=terms.expires, stage=post.words,
            created=now, updated=now,
        )  # fmt: skip
        await self._deps.jobs.save_lane(lane)
        await self._look_at_lane()

    def refusal(self, step: int) -> str:
        """Why to stop after committing this step; empty while there is no reason."""
        now = self._clock()
        if not self._gate.overdue(step, self._counted):
            self._overdue_since = None
            return ""
        if self._overdue_since is None:
            self._overdue_since = now
        return self._gate.refusal(step, self._counted, now - self._overdue_since)

    async def take(self, note: VoucherNote) -> None:
        """Check a voucher, keep it, count it; one that is no newer than the last is nothing.

        Raises ProtocolViolation for one that no honest payer sends. None comes after our release of the lane: what it
        says could not be claimed, for the payer may settle at the release.
        """
        if self._released:
            raise ProtocolViolation("a voucher after its lane was released")
        voucher = await trio.to_thread.run_sync(self._checked, note)
        if self._newest is not None and voucher.number <= self._newest.number:
            return
        if voucher.total <= self.total:
            raise ProtocolViolation("a voucher for less than the one before")
        receipts = tuple(encode(to_value(each)) for each in note.receipts)
        line = self._line(voucher, note)
        self._warn_if_short(line)
        await self._deps.jobs.keep_voucher(
            voucher.payer, voucher.lane, note.voucher, voucher.total, voucher.number, receipts, (line,)
        )
        self._newest = voucher
        if await self._look_at_lane() and time.time() < self._terms.expires:  # later ones may never be claimed
            self._counted = voucher.total

    async def release(self, total: int) -> bytes:
        """Our word that the lane may be closed. Raises Refused unless ``total`` is what our newest voucher says."""
        if total != self.total:
            raise Refused(f"the newest voucher here is for {self.total} micro-credits, not {total}")
        self._released = True
        return await sign_lane_release(self._deps, self._post.payer, self._terms.lane)

    def _checked(self, note: VoucherNote) -> Voucher:
        network, ours, post = self._deps.network.id, self._deps.identity.peer, self._post
        voucher = open_voucher(note.voucher, network)
        named = (voucher.payer, voucher.lane, voucher.run, voucher.provider)
        if named != (post.payer, self._terms.lane, post.plan.run, ours):
            raise ProtocolViolation("a voucher of another lane")
        if voucher.total > self._terms.cap:
            raise ProtocolViolation("a voucher for more than its lane holds")
        if work_root(both.one.receipt for both in note.receipts) != voucher.work_root:
            raise ProtocolViolation("a voucher for other receipts than those beside it")
        here = post.plan.stages[post.stage]
        for both in note.receipts:
            receipt = both.one.receipt
            if (receipt.run, receipt.term) != (post.plan.run, post.plan.term):
                raise ProtocolViolation("a voucher with receipts of another run or term")
            if receipt.boundary not in (here.first, here.end):
                raise ProtocolViolation("a voucher with receipts of a boundary that is not ours")
            for signed in (both.one, both.other):
                self._check(signed)
        return voucher

    def _check(self, signed: SignedReceipt) -> None:
        """Our own signature is the same every time, and made faster than it is checked."""
        us, network = self._deps.identity, self._deps.network.id
        if signed.signer != us.peer:
            check_receipt(signed, network)
        elif signed != sign_receipt(signed.receipt, network, us.peer, us.sign):
            raise ProtocolViolation("our signature on a receipt does not hold")

    def _line(self, voucher: Voucher, note: VoucherNote) -> WorkLine:
        post, here = self._post, self._post.plan.stages[self._post.stage]
        receipts = [both.one.receipt for both in note.receipts]
        return WorkLine(
            run=post.plan.run, term=post.plan.term, stage=post.stage, provider=voucher.provider,
            first_layer=here.first, last_layer=here.end - 1,
            first_step=min((each.first_step for each in receipts), default=post.start),
            end_step=max((each.end_step for each in receipts), default=post.start),
            forwards=note.forwards, backwards=note.backwards,
            operations=post.operations(note.forwards, note.backwards), amount=voucher.total - self.total,
            voucher=voucher.number, work_root=voucher.work_root,
        )  # fmt: skip

    def _warn_if_short(self, line: WorkLine) -> None:
        due = amount_of(line.operations, self._terms.price)
        if line.amount < due and self.total + line.amount < self._terms.cap:
            words = f"{short(self._post.payer)} pays {line.amount} micro-credits for work worth {due}"
            self._deps.events.warning(words, run=line.run)

    async def _look_at_lane(self) -> bool:
        """Whether the committee has certified a lane as the terms have it."""
        if not self._certified:
            terms, post = self._terms, self._post
            lane = await self._deps.wallet.lane_standing(post.payer, terms.lane)
            self._certified = (
                lane is not None
                and (lane.run, lane.provider) == (post.plan.run, self._deps.identity.peer)
                and lane.cap >= terms.cap
                and lane.expires >= terms.expires
            )
        return self._certified


async def sign_lane_release(deps: RunDeps, payer: PeerId, lane: int) -> bytes:
    """Release a lane at the newest voucher that is on disk; the release is on disk before it leaves."""
    record = await deps.jobs.lane(payer, lane)
    if record is None:
        raise Refused(f"there is no lane {lane} of {short(payer)} here")
    release = LaneRelease(payer, lane, deps.identity.peer, record.total)
    raw = sign_release(release, deps.network.id, deps.identity.sign)
    await deps.jobs.save_lane(replace(record, release=raw, updated=time.time()))
    return raw
