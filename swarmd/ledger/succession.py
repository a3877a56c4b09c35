"""From one committee to the next, on a member's side: stop and report, or take in the reports and begin."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import trio

from swarmd.ledger.collect import Collector
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.reports import Reports
from swarmd.ledger.voter import Voter
from swarmd.protocols.errors import NotYet, Refused, RemoteError, StateError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.handover import (
    CommitteeChange,
    Handover,
    Succession,
    change_id,
    open_change,
    parse_report,
    report_hash,
    sign_handover,
)
from swarmd.protocols.ledger.messages import AskHandover, HandedOver
from swarmd.protocols.ledger.reporting import above_certified, whole_report
from swarmd.protocols.ledger.validator import adopt

_LOG = logging.getLogger(__name__)


class SuccessionDesk:
    """``ask`` answers the operator; ``run`` takes over when we are a member of a new committee."""

    def __init__(
        self, keeper: Keeper, voter: Voter, reports: Reports, collector: Collector, greet: Callable[[], Awaitable[None]]
    ) -> None:
        """``greet`` lets everybody know once we vote."""
        self._keeper, self._voter, self._reports = keeper, voter, reports
        self._collector, self._greet = collector, greet
        self._deps, self._store = keeper.deps, keeper.deps.self_store
        self._turn = trio.Lock()

    async def load(self) -> None:
        """Remember what we handed over before this start."""
        self._voter.handed_over = await self._store.handed_over()
        if self._voter.handed_over >= 0:
            known = await self._store.handover(self._voter.handed_over)
            if known is not None:
                self._reports.keep(known[1])

    async def ask(self, peer: PeerId, asked: AskHandover) -> HandedOver:
        """Stop voting and report; the same answer for the same change, and none for another of its number."""
        del peer  # the operator's signature counts, whoever brings it
        change = self._open(asked.change)
        name = change_id(asked.change, self._keeper.replica.network)
        async with self._turn:
            known = await self._store.handover(change.number - 1)
            if known is None and change.number > 1 and not await self._store.inherited(change.number - 1):
                raise NotYet("this node takes over from the former committee first")
            handover, report = known or await self._hand_over(change, name)
        if handover.change != name:
            raise Refused(f"committee {change.number - 1} was handed over here to other members than these")
        self._reports.keep(report)
        return HandedOver(handover, len(report))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Take over whenever a committee begins that we are in, for ever."""
        self._voter.ready = not await self._must_take_over()
        async with trio.open_nursery() as nursery:
            task_status.started()
            await self._follow(nursery)

    async def _follow(self, nursery: trio.Nursery) -> None:
        rounds = 0
        while True:
            changed, nudged = self._keeper.changed, self._collector.nudged
            self._voter.ready = not await self._must_take_over()
            if self._voter.ready:
                rounds = 0
                await changed.wait()
            elif await self._take_over():
                self._voter.ready = True
                self._collector.nudge()  # our own entry may wait for our own vote
                nursery.start_soon(self._greet)
            else:
                rounds += 1
                await self._collector.pause(rounds, nudged)

    async def _must_take_over(self) -> bool:
        committee = self._keeper.replica.committee
        self._voter.handed_over = await self._store.handed_over()
        if committee.number == 0 or self._keeper.account not in committee.peers:
            return False
        return not await self._store.inherited(committee.number)

    async def _take_over(self) -> bool:
        committee = self._keeper.replica.committee
        succession: Succession = self._keeper.replica.successions[committee.number - 1]
        try:
            raws = [await self._reports.fetch(handover) for handover in succession.handovers]
            reports = tuple([await trio.to_thread.run_sync(parse_report, raw) for raw in raws])
        except RemoteError as error:
            _LOG.info("reports for committee %d: %s", committee.number, error)
            return False
        inherited = await trio.to_thread.run_sync(adopt, self._keeper.replica, reports, self._deps.clock())
        entries = [raw for report in reports for raw in report.entries]
        above = await trio.to_thread.run_sync(above_certified, self._keeper.replica, entries)
        carried = tuple(signed.raw for signed in above)
        await self._store.inherit(committee.number, inherited, carried)
        for proof in inherited.proofs:
            await self._keeper.take_proof(proof)
        self._deps.events.info(f"this node votes in committee {committee.number} from now on")
        return True

    async def _hand_over(self, change: CommitteeChange, name: bytes) -> tuple[Handover, bytes]:
        async with self._voter.gate.shut():
            replica = self._keeper.replica
            voted = await self._store.report({a: replica.seq(a) for a in replica.accounts()})
            report = (await trio.to_thread.run_sync(whole_report, replica, voted)).to_bytes()
            handover = sign_handover(
                name, report_hash(report), replica.network, self._keeper.account, self._deps.identity.sign
            )
            await self._store.hand_over(change.number - 1, handover, report)
            self._voter.handed_over = change.number - 1
        self._deps.events.info(f"committee {change.number - 1} is handed over: this node votes there no more")
        return handover, report

    def _open(self, raw: bytes) -> CommitteeChange:
        replica, operator = self._keeper.replica, self._deps.genesis.operator
        if operator is None:
            raise StateError("this network has no operator")
        change = open_change(raw, replica.network, operator)
        before = replica.committee
        if change.number > before.number + 1:
            raise NotYet(f"committee {change.number - 1} is not known here yet")
        if not change.number >= 1 or change.previous != replica.committees[change.number - 1].hash:
            raise Refused("a change that does not follow the committee known here")
        if self._keeper.account not in replica.committees[change.number - 1].peers:
            raise Refused(f"this node is no member of committee {change.number - 1}")
        if change.number <= before.number and self._voter.handed_over < change.number - 1:
            raise Refused(f"committee {before.number} votes already")
        return change
