"""Our own lanes, from opening to settlement.

A lane that is to be settled is marked ``closing`` on disk first; closing goes on, over restarts, until the committee
has certified what was paid. A lane that expired is closed when its grace is over, whether anybody asked or not.
"""

from __future__ import annotations

from dataclasses import replace

import trio

from swarmd.ledger.author import Author
from swarmd.ledger.collect import Collector
from swarmd.ledger.fairclosing import FairClosings
from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.keeper import Keeper
from swarmd.protocols.errors import ProtocolViolation, Refused, SwarmdError, UsageError
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.account import Lane
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.entry import LaneOpen, LaneSettle
from swarmd.protocols.ledger.messages import AskCloseVote, Evidence
from swarmd.protocols.ledger.votes import CloseCertificate
from swarmd.protocols.ledger.vouchers import open_release, open_voucher

OPEN, CLOSING, SETTLED = "open", "closing", "settled"


class _Task:
    """One lane on its way to settlement."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.paid = 0
        self.error: SwarmdError | None = None


class Closing:
    """Opens, closes and settles the lanes we pay. ``run`` is the service."""

    def __init__(self, keeper: Keeper, collector: Collector, author: Author) -> None:
        self._keeper, self._collector, self._author = keeper, collector, author
        self._deps, self._store = keeper.deps, keeper.deps.job_store
        self._tasks: dict[int, _Task] = {}  # at most one for each open lane
        self._nursery: trio.Nursery | None = None

    async def open(self, run: RunId, ops: tuple[LaneOpen, ...], note: str) -> tuple[int, ...]:
        """As ``Wallet.open_lanes``."""
        write = await self._author.submit(ops, Evidence(), note, wait=True)
        first = write.lanes_before + 1
        numbers = tuple(range(first, first + len(ops)))
        for number, op in zip(numbers, ops, strict=True):
            await self._store.save_lane(self._record(Lane(number, run, op.provider, op.cap, op.expires)))
        return numbers

    async def settle(self, number: int, voucher: bytes, release: bytes) -> int:
        """As ``Wallet.settle_lane``."""
        lane = self._keeper.replica.state(self._keeper.account).lane(number)
        if lane is None:
            raise UsageError(f"we have no open lane {number}", hint="`swarmd wallet` lists the open ones")
        total = self._released(lane, voucher, release) if release else 0
        known = await self._store.lane(self._keeper.account, number) or self._record(lane)
        record = replace(
            known, state=CLOSING, voucher=voucher or known.voucher, release=release, updated=self._deps.clock()
        )
        await self._store.save_lane(replace(record, total=max(total, record.total)))
        task = self._start(record)
        await task.done.wait()
        if task.error is not None:
            raise task.error
        return task.paid

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Go on with what was being closed, and look for lanes that expired, for ever."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for record in await self._store.lanes(role="payer", state=CLOSING):
                self._start(record)
            task_status.started()
            while True:
                await self._close_expired()
                await trio.sleep(self._deps.settings.look_every)

    async def _close_expired(self) -> None:
        if self._keeper.replica.frozen(self._keeper.account):
            return
        over = self._deps.clock() - self._deps.genesis.limits.grace_seconds
        for lane in self._keeper.replica.state(self._keeper.account).lanes:
            if lane.expires < over and lane.number not in self._tasks:
                known = await self._store.lane(self._keeper.account, lane.number) or self._record(lane)
                record = replace(known, state=CLOSING, expires=lane.expires, updated=self._deps.clock())
                await self._store.save_lane(record)
                self._start(record)

    def _start(self, record: LaneRecord) -> _Task:
        task = self._tasks.get(record.lane)
        if task is None:
            task = self._tasks[record.lane] = _Task()
            if self._nursery is None:
                raise UsageError("the ledger is not running")
            self._nursery.start_soon(self._finish, record, task)
        return task

    async def _finish(self, record: LaneRecord, task: _Task) -> None:
        account, replica = self._keeper.account, self._keeper.replica
        while replica.state(account).lane(record.lane) is not None:
            try:
                task.paid = await self._close(record)
            except SwarmdError as error:
                task.error = error
                if replica.frozen(account):
                    break
                self._deps.events.warning(f"lane {record.lane} is not settled yet: {error.message}", run=record.run)
                record = await self._without_release(record, error)
                await self._collector.pause(6, self._collector.nudged)
        else:
            task.error = None
            await self._store.save_lane(replace(record, state=SETTLED, total=task.paid, updated=self._deps.clock()))
            self._keeper.counters["lanes_settled"] += 1
        del self._tasks[record.lane]
        task.done.set()

    async def _close(self, record: LaneRecord) -> int:
        account = self._keeper.account
        total = open_release(record.release, self._keeper.replica.network).total if record.release else 0
        ask = AskCloseVote(account, record.lane, record.release, record.voucher if total else b"")

        fair = FairClosings(account, record.lane, self._signed_for(record))
        ballots = await self._collector.certify(lambda: ask, fair.fits, fair.heard)
        certificate = CloseCertificate(ballots.in_order())
        lane = self._keeper.replica.state(account).lane(record.lane)
        paid = min(certificate.paid, lane.cap if lane else certificate.paid)
        note = f"lane {record.lane} settled at {format_credits(paid)}"
        await self._author.write((LaneSettle(record.lane, paid),), Evidence(closes=(certificate,)), note, wait=True)
        return paid

    def _signed_for(self, record: LaneRecord) -> int:
        """The most that a voucher of ours, as far as we remember, says of a lane."""
        return max(
            record.total, open_voucher(record.voucher, self._keeper.replica.network).total if record.voucher else 0
        )

    async def _without_release(self, record: LaneRecord, error: SwarmdError) -> LaneRecord:
        """A release that members refuse for good will not do; what is left is to wait for the lane's end."""
        if not record.release or not isinstance(error, Refused):
            return record
        bare = replace(record, release=b"", updated=self._deps.clock())
        await self._store.save_lane(bare)
        return bare

    def _released(self, lane: Lane, voucher: bytes, release: bytes) -> int:
        network, account = self._keeper.replica.network, self._keeper.account
        try:
            word = open_release(release, network)
            total = open_voucher(voucher, network).total if word.total else 0
        except ProtocolViolation as error:
            raise UsageError(f"this does not release lane {lane.number}: {error.message}") from error
        if (word.payer, word.lane, word.provider, word.total) != (account, lane.number, lane.provider, total):
            raise UsageError(f"this is not the provider's release of lane {lane.number} at our voucher's total")
        return total

    def _record(self, lane: Lane) -> LaneRecord:
        now = self._deps.clock()
        return LaneRecord(
            payer=self._keeper.account,
            lane=lane.number,
            run=lane.run,
            provider=lane.provider,
            role="payer",
            price=0,
            cap=lane.cap,
            expires=lane.expires,
            total=0,
            number=0,
            voucher=b"",
            release=b"",
            state=OPEN,
            stage="",
            created=now,
            updated=now,
        )
