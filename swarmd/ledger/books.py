"""What the files of this node tell of its lanes: invoices, what vouchers rest on, and what is owed."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial

import trio

from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.earning import is_settled
from swarmd.ledger.invoicing import LaneAccount
from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.proving import receipts_view, release_view, voucher_view
from swarmd.ledger.selfdb import OwnEntry
from swarmd.protocols.control_entries import EvidenceView, ReceiptsView
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.ids import PeerId, RunId, short
from swarmd.protocols.ledger.entry import Claim, LaneSettle, open_entry
from swarmd.protocols.ledger.replica import Replica

PAYER, PROVIDER, SETTLED = "payer", "provider", "settled"
PAGE, MAX_PAGES = 100, 40
"""Entries read at once; how often, to find a settlement."""
SHOWN_VOUCHERS = 64
"""Of a lane, the newest."""
SHOWN_LANES = 16
"""Of one claim, the newest."""


class Books:
    """Reads; changes nothing."""

    def __init__(self, deps: LedgerDeps, replica: Replica) -> None:
        self._jobs, self._own, self._replica = deps.job_store, deps.self_store, replica
        self._network = replica.network
        self._us = deps.identity.peer

    async def find_run(self, prefix: str) -> tuple[RunId, bool]:
        """The run with lanes here whose id begins so, and whether we pay for it. Raises NotFound, UsageError."""
        runs = {lane.run: lane.role == PAYER for lane in await self._jobs.lanes() if lane.run.startswith(prefix)}
        if not prefix or not runs:
            raise NotFound(f"no run {prefix!r} here, and none that paid this node", hint="swarmd jobs ls")
        if len(runs) > 1:
            raise UsageError(f"{prefix!r} begins {len(runs)} run ids", hint="give more characters of the id")
        return runs.popitem()

    async def accounts(self, run: RunId, role: str) -> tuple[LaneAccount, ...]:
        """The run's lanes in which we have this role, each with its work, receipts and settlement."""
        lanes = sorted(await self._jobs.lanes(run=run, role=role), key=lambda lane: (lane.payer, lane.lane))
        paid = await self._settled(lanes)
        return tuple([await self._account(lane, paid) for lane in lanes])

    async def receipts(self, payer: PeerId, number: int, voucher: int) -> ReceiptsView:
        """The receipts behind one voucher of a lane, every signature checked. Raises NotFound."""
        lines = [line for line in await self._jobs.lane_lines(payer, number) if line.voucher == voucher]
        if not lines:
            raise NotFound(f"voucher {voucher} of lane {number} of {short(payer)} is not kept here")
        raw = await self._jobs.receipts(payer, number, voucher)
        check = partial(receipts_view, payer, number, voucher, lines[0].work_root, raw, self._network)
        return await trio.to_thread.run_sync(check)

    async def behind(self, own: OwnEntry) -> tuple[EvidenceView, ...]:
        """The vouchers and releases that an entry's claims and settlements rest on."""
        views: list[EvidenceView] = []
        for op in open_entry(own.raw, self._network).entry.ops:
            for lane in await self._lanes_of(op):
                if lane.voucher:
                    views.append(voucher_view(lane.voucher, self._network, await self._numbers(lane)))
                if lane.release:
                    views.append(release_view(lane.release, self._network))
        return tuple(views)

    async def receipt_counts(self, lanes: Iterable[LaneRecord]) -> dict[tuple[PeerId, int], int]:
        """How many receipts are kept behind the vouchers of each lane."""
        return {
            (lane.payer, lane.lane): sum((await self._jobs.receipt_counts(lane.payer, lane.lane)).values())
            for lane in lanes
        }

    async def pace(self, run: str) -> float | None:
        """Steps a second of a run that pays us, between its two newest vouchers; None before the second."""
        lanes = await self._jobs.lanes(run=RunId(run), role=PROVIDER)
        newest = await self._jobs.paces(lanes[-1].payer, lanes[-1].lane) if lanes else ()
        if len(newest) < 2 or newest[0][1] <= newest[1][1]:
            return None
        return (newest[0][0] - newest[1][0]) / (newest[0][1] - newest[1][1])

    async def earning_lanes(self) -> tuple[LaneRecord, ...]:
        """Every lane that pays us."""
        return await self._jobs.lanes(role=PROVIDER)

    async def entries(self, limit: int) -> tuple[OwnEntry, ...]:
        """Our newest entries, newest first."""
        return await self._own.entries(None, limit)

    async def _account(self, lane: LaneRecord, paid: dict[int, int]) -> LaneAccount:
        claimed = lane.total if is_settled(lane, self._replica.state(lane.payer)) else None
        settled = claimed if lane.role == PROVIDER else paid.get(lane.lane)
        lines = await self._jobs.lane_lines(lane.payer, lane.lane)
        counts = await self._jobs.receipt_counts(lane.payer, lane.lane)
        return LaneAccount(lane=lane, lines=lines, receipts=counts, paid=settled)

    async def _settled(self, lanes: list[LaneRecord]) -> dict[int, int]:
        """What our own certified entries paid from these lanes of ours, by lane."""
        wanted = {lane.lane for lane in lanes if lane.role == PAYER and lane.state == SETTLED}
        paid: dict[int, int] = {}
        before: int | None = None
        for _ in range(MAX_PAGES):
            page = await self._own.entries(before, PAGE) if wanted - paid.keys() else ()
            for own in page:
                paid |= {number: amount for number, amount in self._settlements(own) if number in wanted}
            if len(page) < PAGE:
                break
            before = page[-1].seq
        return paid

    def _settlements(self, own: OwnEntry) -> tuple[tuple[int, int], ...]:
        """Lanes that a certified entry settles, with what it pays."""
        ops = open_entry(own.raw, self._network).entry.ops if own.head else ()
        return tuple((op.number, op.paid) for op in ops if isinstance(op, LaneSettle))

    async def _lanes_of(self, op: object) -> tuple[LaneRecord, ...]:
        if isinstance(op, LaneSettle):
            lane = await self._jobs.lane(self._us, op.number)
            return (lane,) if lane is not None else ()
        if isinstance(op, Claim):
            lanes = [lane for lane in await self._jobs.lanes(role=PROVIDER) if lane.payer == op.payer]
            return tuple(sorted(lanes, key=lambda lane: -lane.lane)[:SHOWN_LANES])
        return ()

    async def _numbers(self, lane: LaneRecord) -> tuple[int, ...]:
        return tuple(sorted(await self._jobs.receipt_counts(lane.payer, lane.lane))[-SHOWN_VOUCHERS:])
