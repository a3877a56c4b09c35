"""A member of a run: one session with its coordinator, one lease, one compute process.

The lease lives as long as the session: when the coordinator says Release, goes away, or is silent for
LEASE_SECONDS, the compute process ends and the lease's files go.
"""

from __future__ import annotations

import os
import time
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass

import trio

from swarmd.compute import messages as compute
from swarmd.compute.layout import layout_of
from swarmd.compute.process import GONE, Compute
from swarmd.protocols.checkpoint import UnitState
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused, RemoteError, SwarmdError
from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.messages import (
    Accepted,
    Assign,
    Beat,
    Begin,
    Checkpointed,
    Connect,
    Connected,
    Evaluated,
    Failed,
    Finished,
    Halt,
    Halted,
    Heartbeat,
    Offer,
    Probe,
    Profiled,
    Ready,
    Release,
    StepDone,
    words,
)
from swarmd.protocols.pay_messages import AskRelease, LastReceipts, Terms, VoucherNote
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, RunStatement, open_plan
from swarmd.protocols.tensors import FrameHeader
from swarmd.runs.blob_exchange import Grant
from swarmd.runs.deps import RunDeps
from swarmd.runs.earning import Earning
from swarmd.runs.hosting import free_memory, make_room, needed_blobs
from swarmd.runs.leases import LEASE_SECONDS, Lease
from swarmd.runs.links import StageLinks
from swarmd.runs.orders import Orders
from swarmd.runs.providing import Post
from swarmd.runs.session import Session
from swarmd.runs.sizes import KEPT_CHECKPOINTS
from swarmd.runs.slots import StageSlots
from swarmd.scheduler.around import stage_of
from swarmd.scheduler.fitting import Fit
from swarmd.scheduler.mending import may_mend

FAREWELL_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class BrokenLink:
    """A tensor link to a neighbour has ended before its time."""

    neighbour: PeerId
    reason: str


class Membership:
    """One run's stage on this node, for the length of one session."""

    def __init__(
        self,
        deps: RunDeps,
        session: Session,
        statement: RunStatement,
        spec: JobSpec,
        offer: Offer,
        lease: Lease,
    ) -> None:
        self._deps, self._session, self._lease = deps, session, lease
        self._statement, self._spec, self._offer = statement, spec, offer
        self._layout = layout_of(spec)
        self._kept: list[frozenset[BlobHash]] = []
        self._starting = trio.Lock()
        self._orders = Orders(trio.current_time())
        self._earning = Earning(deps, session)
        self._token = trio.lowlevel.current_trio_token()
        self._to_loop, self._from_compute = trio.open_memory_channel[object](1024)
        self._compute: Compute | None = None
        self._slots: StageSlots | None = None
        self._links: StageLinks | None = None
        self._fit: Fit | None = None
        self._plan: Plan | None = None
        self._grant = Grant(lease.store, {statement.submitter})
        self._work = compute.Work(0, 0, 0, 0, 0, 0)
        self._step = 0
        self._finished = self._released = False

    async def serve(self) -> None:
        """Until the coordinator releases us, or one of us is gone."""
        run = self._statement.run
        self._deps.grants.add(run, self._grant)
        try:
            async with AsyncExitStack() as stack, trio.open_nursery() as nursery:
                self._stack, self._nursery = stack, nursery
                await self._session.send(Accepted(LEASE_SECONDS, os.getpid()))
                nursery.start_soon(self._report)
                await self._obey()
                self._released = True
                nursery.cancel_scope.cancel()
        finally:
            if not self._released:
                await self._say_farewell()
            self._deps.desk.close(run)
            self._deps.grants.remove(run, self._grant)

    async def _say_farewell(self) -> None:
        """We end, not the coordinator: it should not have to guess why."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + FAREWELL_SECONDS), suppress(RemoteError):
            await self._earning.farewell()
            await self._session.send(
                Failed(PeerLost.code, "its node ended the stage: its owner stopped it or took it back", "")
            )

    async def _obey(self) -> None:
        while True:
            with trio.move_on_after(LEASE_SECONDS) as scope:
                message = await self._session.receive()
            if scope.cancelled_caught:
                raise PeerLost("the coordinator was silent for the whole lease")
            self._orders.check(message, trio.current_time())
            if isinstance(message, Release):
                return
            if isinstance(message, Heartbeat):
                await self._session.send(self._beat(message.number))
            elif isinstance(message, Terms | Halt) or (isinstance(message, Assign) and message.version is not None):
                await self._do(message)  # before what comes with it
            elif isinstance(message, VoucherNote | LastReceipts | AskRelease):
                self._earning.hear(message)
            else:
                self._nursery.start_soon(self._do, message)

    async def _do(self, message: object) -> None:
        try:
            await self._act(message)
        except SwarmdError as error:
            await self._fail(error.code, error.message)

    async def _act(self, message: object) -> None:
        match message:
            case Probe():
                await self._tell(await self._computer(), compute.Time(self._offer.spec, self._deps.fault))
            case Assign(plan=raw, stage=place, version=version):
                plan = open_plan(raw, self._deps.network.id, self._session.remote)
                await (self._build(plan, place) if version is None else self._go_on(plan, place, version))
            case Halt() if self._links is not None and self._compute is not None:
                await self._links.retire()
                self._links = None
                self._compute.send(compute.Halt())
            case Terms():
                self._agree(message)
            case Connect() if self._links is not None:
                self._earning.check()
                if await self._links.connect():
                    await self._session.send(Connected())
            case Begin() if self._links is not None and self._compute is not None and self._plan is not None:
                self._lease.words = f"trains stage {stage_of(self._plan, self._links.place)}"
                self._compute.send(compute.Start())
            case _:
                raise ProtocolViolation(f"{type(message).__name__} came out of turn")

    def _agree(self, terms: Terms) -> None:
        """A run that pays tells each of its stages how, free ones too."""
        if self._plan is None or self._links is None:
            raise ProtocolViolation("terms for no stage")
        payer, stage = self._session.remote, self._links.place
        post = Post(payer=payer, plan=self._plan, stage=stage, spec=self._spec, start=self._step)
        self._earning.begin(terms, post)
        self._lease.lane = terms.lane
        self._nursery.start_soon(self._earning.serve, self._unpaid)

    async def _unpaid(self, error: SwarmdError) -> None:
        await self._fail(error.code, error.message)

    async def _computer(self) -> Compute:
        async with self._starting:
            if self._compute is None:
                self._compute = await self._stack.enter_async_context(
                    self._deps.open_compute(
                        self._layout,
                        self._lease.store.root,
                        self._spec.numerics.threads,
                        self._deps.config.device,
                        self._from_thread,
                    )
                )
            return self._compute

    async def _tell(self, computer: Compute, message: object) -> None:
        """Send what carries a spec, in a thread: it may be more than the socket takes before the process reads."""
        await trio.to_thread.run_sync(computer.send, message, abandon_on_cancel=True)

    def _check(self, plan: Plan, place: int) -> None:
        newest = self._plan.number if self._plan else 0
        if (plan.run, plan.term) != (self._statement.run, self._offer.term) or plan.number <= newest or self._links:
            raise ProtocolViolation("a plan of another run or term, or an older one, or before the last has ended")
        if not 0 <= place < len(plan.stages) or plan.stages[place].peer != self._deps.identity.peer:
            raise ProtocolViolation("a plan that does not put this node where it says")
        if plan.stages[-1].end != self._spec.model.num_hidden_layers:
            raise ProtocolViolation("a plan that does not cover the layers")
        lanes = self._spec.lanes
        if lanes > 1 and any(len(group) != lanes for group in plan.groups):
            raise ProtocolViolation(f"a plan without {lanes} replicas of each stage, which train apart")
        if lanes == 1 and plan.shared and not self._spec.may_share_stages:
            raise ProtocolViolation('a plan with replicas for a run without sum = "exact", or with stale steps')

    async def _build(self, plan: Plan, place: int) -> None:
        """Fetch what the stage needs, and have it built."""
        self._check(plan, place)
        here, stage = plan.stages[place], stage_of(plan, place)
        keeps = may_mend(plan, self._spec)
        self._fit = make_room(self._deps, self._lease, self._spec, here, stage, keeps=keeps)
        self._plan = plan
        self._lease.words = f"loads layers {here.first} to {here.end - 1}"
        await needed_blobs(self._deps, self._statement, self._spec, plan, place, self._lease.store)
        await self._load(plan, place, self._fit, None)

    async def _go_on(self, plan: Plan, place: int, version: int) -> None:
        """Take a place in another plan of this term with the stage that is here."""
        self._check(plan, place)
        old, new = self._plan, plan.stages[place]
        held = next((each for each in old.stages if each.peer == new.peer), None) if old else None
        if self._fit is None or held is None or (held.first, held.end) != (new.first, new.end):
            raise ProtocolViolation("a plan that goes on with a stage which is not here")
        self._plan, self._finished = plan, False
        await self._load(plan, place, self._fit, version)

    async def _load(self, plan: Plan, place: int, fit: Fit, version: int | None) -> None:
        computer, here = await self._computer(), plan.stages[place]
        self._slots = self._slots or StageSlots(computer, self._layout)
        links = StageLinks(self._deps, computer, self._slots, self._spec, plan, place, self._broken_link, self._note)
        await self._nursery.start(links.serve)
        self._links = links
        self._deps.desk.open(plan.run, links)
        await self._tell(
            computer,
            compute.Load(
                self._offer.spec, plan.run, plan.term, plan.number, stage_of(plan, place), len(plan.groups),
                here.first, here.end, fit.credit, links.around, plan.checkpoint, self._deps.fault, fit.room,
                fit.recompute, version, may_mend(plan, self._spec),
            ),
        )  # fmt: skip

    def _note(self, place: int, header: FrameHeader) -> None:
        self._earning.note(header)

    def _from_thread(self, message: object) -> None:
        """What the compute process says, in its reader's thread: frames go on from here, the rest to the loop."""
        if isinstance(message, compute.Outgoing) and self._links is not None:
            self._links.send(message)
        elif isinstance(message, compute.Outgoing) and self._slots is not None:
            self._slots.sent(message.slot)
        elif isinstance(message, compute.Taken) and self._slots is not None:
            self._slots.taken(message.slots)
        else:
            if isinstance(message, compute.Stepped):
                self._earning.committed(message.step)
            with suppress(trio.RunFinishedError):  # the daemon is on its way out
                self._token.run_sync_soon(self._queue, message)

    def _queue(self, message: object) -> None:
        try:
            self._to_loop.send_nowait(message)
        except trio.WouldBlock:  # the coordinator reads nothing any more: the lease is worth nothing
            self._nursery.cancel_scope.cancel()
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # the session is over

    def _broken_link(self, neighbour: PeerId, reason: str) -> None:
        """A neighbour's link broke (trio thread)."""
        if not self._finished:
            self._queue(BrokenLink(neighbour, reason))

    async def _report(self) -> None:
        async for message in self._from_compute:
            match message:
                case compute.Timed(layer_ns, embed_ns, head_ns):
                    await self._session.send(self._profile(layer_ns, embed_ns, head_ns))
                case compute.Loaded(version, thrift):
                    self._step = version
                    if thrift:
                        self._deps.events.warning(thrift, run=self._statement.run)
                    await self._session.send(Ready(version))
                case compute.Halted(version, oldest):
                    await self._session.send(Halted(version, oldest))
                case compute.Stepped(step, loss, norms, work):
                    self._step, self._work = step, work
                    await self._session.send(StepDone(step, loss, norms))
                    await self._earn(step, loss)
                case compute.Scored(step, loss):
                    await self._session.send(Evaluated(step, loss))
                case compute.Stored(step, units):
                    await self._keep(units)
                    await self._tell(await self._computer(), compute.Kept(step))
                    await self._session.send(Checkpointed(step, units))
                case compute.Done(version):
                    self._finished = True
                    await self._session.send(Finished(version))
                case compute.Broken(code, words):
                    await self._fail(code, words)
                case BrokenLink(neighbour, reason):
                    await self._fail(PeerLost.code, reason, neighbour)
                case _ if message is GONE:
                    await self._fail(PeerLost.code, "the compute process ended")
                case _:
                    raise ProtocolViolation(f"the compute process said {type(message).__name__}")

    async def _earn(self, step: int, loss: str | None) -> None:
        """Sign what is due with this step; a stage that is owed too much says so, and ends."""
        try:
            await self._earning.stepped(step, loss)
        except Refused as refusal:
            await self._earning.farewell()
            await self._fail(refusal.code, refusal.message)
            self._released = True
            self._nursery.cancel_scope.cancel()

    async def _keep(self, units: tuple[UnitState, ...]) -> None:
        """Grant the newest checkpoints and the one being fetched; delete the rest: the coordinator has them."""
        self._kept.append(frozenset(b for u in units for b in (u.weights, u.optimizer) if b is not None))
        waiting = [each for each in self._kept if self._grant.asked not in each]
        if len(waiting) > KEPT_CHECKPOINTS:
            self._kept.remove(waiting[0])
        kept = set[BlobHash]().union(*self._kept)
        gone, self._grant.blobs = self._grant.blobs - kept, kept
        for blob in gone:
            await trio.to_thread.run_sync(self._lease.store.delete, blob)

    async def _fail(self, code: str, message: str, neighbour: str = "") -> None:
        self._deps.events.error(message, run=self._statement.run)
        await self._session.send(Failed(words(code), words(message), neighbour))

    def _profile(self, layer_ns: int, embed_ns: int, head_ns: int) -> Profiled:
        device = self._deps.device
        return Profiled(
            layer_ns,
            embed_ns,
            head_ns,
            max(1, free_memory(self._deps, self._lease) - self._layout.frame_bytes),
            int(self._deps.config.upload_mbit * 125_000),
            words(device.view.numerics)[:200] if device.view else "",
        )

    def _beat(self, number: int) -> Beat:
        sent, received = (0, 0) if self._links is None else self._links.traffic()
        work = self._work
        return Beat(
            number, self._step, work.micro_batches, work.busy_ns, work.forward_ns, work.backward_ns,
            sent, received, work.cpu_ns + time.process_time_ns(), work.commit_ns,
        )  # fmt: skip
