"""The coordinator of one run: feeds ``scheduler.run`` with events and does what it decides.

One task per run, on the submitter's node. A member's trouble reaches it as an event; its own trouble
(a disk that is full, a planner that finds no room) ends the run with its state saved, never the node.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

import trio

from swarmd.protocols.advert import Advert
from swarmd.protocols.errors import LocalError, PeerLost, RunFailed, SwarmdError
from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.messages import (
    Accepted,
    Assign,
    Beat,
    Begin,
    Checkpointed,
    Connect,
    Connected,
    Declined,
    Evaluated,
    Failed,
    Finished,
    Halt,
    Halted,
    Offer,
    Probe,
    Profiled,
    Ready,
    StepDone,
)
from swarmd.protocols.pay_messages import LaneReleased, Receipted, ReceiptsDone
from swarmd.protocols.statements import sign_plan
from swarmd.runs.calling import Call
from swarmd.runs.deps import RunDeps
from swarmd.runs.finish import write_result
from swarmd.runs.journal import newest_manifest, save_record
from swarmd.runs.keeping import Keeper
from swarmd.runs.pay_desk import PayDesk
from swarmd.runs.planning import make_plan
from swarmd.runs.record import RunRecord
from swarmd.runs.recoveries import Recovery
from swarmd.runs.view import decided_state
from swarmd.scheduler import run as mind
from swarmd.scheduler.around import stage_of
from swarmd.scheduler.mending import may_mend, mended
from swarmd.scheduler.runstate import (
    FINAL,
    Action,
    Dismiss,
    Ended,
    Event,
    Funded,
    Gather,
    Lost,
    MakePlan,
    Mend,
    Moved,
    Patience,
    Phase,
    Planned,
    Refusal,
    RunState,
    Said,
    Standing,
    Stood,
    Tell,
)
from swarmd.scheduler.terms import PATIENCE_AGAIN

TICK_SECONDS = 0.5
ASK_AGAIN_SECONDS, ASK_SPARES_SECONDS = 2.0, 10.0
"""Who could not be reached is asked again after this time."""
_ORDERS = {Phase.PROBING: Probe(), Phase.HALTING: Halt(), Phase.CONNECTING: Connect(), Phase.TRAINING: Begin()}
BLAME_SECONDS = 1.5
"""A dead peer's own session ends within this time of its links."""
OUTBOX = 4096
MAX_MEMBERS = 256
"""Peers that one run is offered to."""


class Coordinator:
    """Runs one run to its end. ``state`` lives in the record, where views read it."""

    def __init__(
        self,
        record: RunRecord,
        deps: RunDeps,
        changed: Callable[[], None],
        needed: Callable[[], set[BlobHash]],
        lasting: trio.Nursery,
    ) -> None:
        """``needed`` gives the blobs that any run of this node needs; settlements go on in ``lasting``."""
        self._record, self._deps, self._changed = record, deps, changed
        self._keeper = Keeper(record, deps, needed)
        self._calls: dict[PeerId, Call] = {}
        self._dear: set[PeerId] = set()
        self._declined: set[PeerId] = set()
        self._lost: dict[PeerId, float] = {}
        self._pay = PayDesk(record, deps, self._calls, lasting)
        self._events, self._inbox = trio.open_memory_channel[Event](OUTBOX)
        record.state = RunState(
            phase=Phase.RECRUITING,
            since=trio.current_time(),
            min_stages=record.asked.min_stages,
            patience=Patience() if record.term == 1 else PATIENCE_AGAIN,
        )

    @property
    def state(self) -> RunState:
        """The decided state."""
        assert self._record.state is not None
        return self._record.state

    def pays(self, lane: int) -> bool:
        """Whether this term pays from a lane of ours."""
        return self._pay.pays(lane)

    def stop(self, reason: str) -> None:
        """End the run at its user's word."""
        self._event(Ended(Phase.STOPPED, "stopped", reason))

    def break_off(self, code: str, reason: str) -> None:
        """The coordinator itself has failed: the run ends here, without another word to its members."""
        self._record.state = mind.apply(Ended(Phase.FAILED, code, reason), self.state, trio.current_time())

    async def run(self) -> None:
        """Until the run is done, failed or stopped, and every member is released."""
        record = self._record
        self._deps.grants.add(record.run, record.grant)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                while self.state.phase not in FINAL:
                    self._recruit()
                    await self._decide()
                    await self._wait()
                await self._pay.close()
                await self._release()
                nursery.cancel_scope.cancel()
        finally:
            self._deps.grants.remove(record.run, record.grant)
            record.ended = record.ended or time.time()

    async def _decide(self) -> None:
        record = self._record
        before = self.state.phase
        record.state, actions = mind.plan(self.state, trio.current_time())
        for action in actions:
            await self._act(action)
        if self.state.phase is not before:
            self._entered(self.state.phase)

    async def _wait(self) -> None:
        with trio.move_on_after(TICK_SECONDS):
            self._take(await self._inbox.receive())
        with suppress(trio.WouldBlock):
            while True:
                self._take(self._inbox.receive_nowait())

    def _take(self, event: Event) -> None:
        before = self.state.phase
        self._record.state = mind.apply(event, self.state, trio.current_time())
        if self.state.phase is not before:
            self._entered(self.state.phase)

    def _entered(self, phase: Phase) -> None:
        if phase is Phase.TRAINING:
            self._record.began = self._record.began or time.time()
        elif (phase is Phase.GATHERING or phase in FINAL) and self._record.ended is None:
            self._record.ended = time.time() if self._record.began else None
        if phase not in FINAL:
            self._record.remembered = decided_state(self._record)
        self._tell_people(phase)
        self._changed()

    def _tell_people(self, phase: Phase) -> None:
        record, events, reason = self._record, self._deps.events, self.state.reason
        if phase in (Phase.MENDING, Phase.HALTING):
            if record.recoveries.lost(reason, record.step, time.time()):
                events.warning(reason, run=record.run)
        elif phase is Phase.TRAINING and (recovery := self._recovered()):
            events.info(recovery.words, run=record.run)
        elif phase is not Phase.FAILED and not (
            self.state.halts and reason
        ):  # whether a failed one goes on is not decided here
            events.info(f"{phase.name.lower()}{': ' if reason else ''}{reason}", run=record.run)

    def _recovered(self) -> Recovery | None:
        record = self._record
        if record.resumed is not None:
            return record.recoveries.went_on("replica", record.resumed, time.time())
        return record.recoveries.went_on("checkpoint" if self.state.halts else "term", record.start_step, time.time())

    async def _act(self, action: Action) -> None:
        match action:
            case Tell(phase, peers):
                for stage, peer in enumerate(peers):
                    self._nursery.start_soon(self._tell, phase, stage, peer)
            case Dismiss(peers):
                for peer in peers:
                    self._nursery.start_soon(self._calls[peer].release, "the plan has no stage for you")
            case Mend(peers, version):
                self._mend(peers, version)
            case MakePlan(peers, anew):
                self._nursery.start_soon(self._guarded, self._plan_anew if anew else self._make_plan, peers)
            case Gather():
                self._nursery.start_soon(self._guarded, self._gather)

    async def _tell(self, phase: Phase, stage: int, peer: PeerId) -> None:
        if phase is Phase.HALTING:
            self._calls[peer].conduct.halts()
        if phase is Phase.CONNECTING:
            await self._pay.tell_terms(stage)
        await self._calls[peer].tell(self._message(phase, stage))

    def _message(self, phase: Phase, stage: int) -> object:
        if phase is Phase.LOADING:
            plan, identity = self._record.plan, self._deps.identity
            assert plan is not None
            signed = sign_plan(plan, self._deps.network.id, identity.peer, identity.sign)
            return Assign(signed, stage, self._record.resumed)
        return _ORDERS[phase]

    def _recruit(self) -> None:
        """Offer the run to every peer not asked yet, while there is still time to answer; later, to spares."""
        recruiting = self.state.phase is Phase.RECRUITING
        most = MAX_MEMBERS - len(self._calls) if recruiting else self.state.spares_wanted
        if most <= 0:
            return
        self._ask_again(ASK_AGAIN_SECONDS if recruiting else ASK_SPARES_SECONDS)
        adverts = self._deps.adverts()
        probed = [peer for peer, advert in adverts.items() if advert.device.flops > 0]
        known = [peer for peer in dict.fromkeys((self._deps.identity.peer, *probed)) if peer not in self._calls]
        new = [peer for peer in known if self._affordable(peer, adverts.get(peer))][:most]
        more = len(probed) < len(adverts)
        self._record.state = mind.offer(self.state, new, trio.current_time(), more_to_come=more)
        offer = Offer(self._record.signed, self._record.spec.to_bytes(), self._record.term)
        for peer in new:
            call = self._calls[peer] = Call(peer, self._record, self._hear, self._lose)
            self._nursery.start_soon(call.run, offer, self._deps)

    def _ask_again(self, seconds: float) -> None:
        """Peers that could not be reached may be on their way back."""
        now = trio.current_time()
        due = [peer for peer, then in self._lost.items() if now - then >= seconds and peer not in self.state.stages]
        for peer in due:
            del self._lost[peer]
            self._calls.pop(peer, None)
            self._record.state = mind.forget(self.state, peer)

    def _affordable(self, peer: PeerId, advert: Advert | None) -> bool:
        reason = self._pay.too_dear(peer, advert)
        if reason and peer not in self._dear:
            self._dear.add(peer)
            self._record.state = mind.apply(Refusal(peer, reason), self.state, trio.current_time())
        return not reason

    def _lose(self, peer: PeerId, reason: str) -> None:
        if peer not in self._declined:
            self._lost[peer] = trio.current_time()
        self._event(Lost(peer, reason))

    def _hear(self, peer: PeerId, message: object) -> None:
        record, now = self._record, time.time()
        member = record.member(peer)
        match message:
            case Accepted():
                member.accepted = message
                record.grant.peers.add(peer)
                self._event(Moved(peer, Standing.ACCEPTED))
            case Declined(reason):
                self._declined.add(peer)
                self._event(Refusal(peer, reason))
            case Profiled():
                member.profile = message
                self._event(Moved(peer, Standing.PROBED))
            case Ready():
                self._event(Moved(peer, Standing.READY))
            case Connected():
                self._event(Moved(peer, Standing.CONNECTED))
            case Finished():
                self._event(Moved(peer, Standing.FINISHED))
            case Halted(version, oldest):
                self._event(Stood(peer, version, oldest))
            case Failed(message=words, peer=neighbour) if neighbour:
                if self.state.phase not in (Phase.MENDING, Phase.HALTING):  # else it is of the plan that has ended
                    self._nursery.start_soon(self._fault_of, peer, words, self.state.halts)
            case Failed(code, words):
                self._event(Lost(peer, words, code if code == RunFailed.code else PeerLost.code))
            case Beat():
                record.beat(peer, message, now)
                self._event(Said(peer))
            case _:
                self._report(peer, message, now)

    def _report(self, peer: PeerId, message: object, now: float) -> None:
        record = self._record
        if record.plan is None or peer not in {stage.peer for stage in record.plan.stages}:
            return
        match message:
            case Receipted() | ReceiptsDone() | LaneReleased():
                self._pay.hear(peer, message)
            case StepDone():
                self._pay.stepped(peer, message)
                self._stepped(peer, message, now)
            case Evaluated(step, loss):
                record.evals[step] = float(loss)
                self._deps.events.info(f"step {step}: held-out loss {float(loss):.4f}", run=record.run)
            case Checkpointed():
                self._nursery.start_soon(self._guarded, self._keep, peer, message)
        self._event(Said(peer))

    def _stepped(self, peer: PeerId, report: StepDone, now: float) -> None:
        record = self._record
        try:
            row = record.stepped(peer, report, now)
        except RunFailed as error:
            self._event(Ended(Phase.FAILED, error.code, error.message))
            return
        if row is not None:
            self._deps.storage.queue_metrics(record.run, row)

    async def _fault_of(self, peer: PeerId, words: str, halts: int) -> None:
        """A member cannot go on because of a neighbour: that one's own session is given time to end first.

        If it does, all stand still (``halts`` rises), and nobody else is lost.
        """
        await trio.sleep(BLAME_SECONDS)
        if self.state.halts == halts and self.state.phase is not Phase.MENDING:
            self._event(Lost(peer, words))

    def _mend(self, peers: tuple[PeerId, ...], version: int) -> None:
        """Go on with these members, without those that were lost."""
        record = self._record
        assert record.plan is not None
        self._leave_out(peer for peer in record.holders if peer not in peers)
        for row in record.mended(mended(record.plan, peers), version, time.time()):
            self._deps.storage.queue_metrics(record.run, row)
        for place in record.plan.stages:
            self._calls[place.peer].conduct.holds(place, version, head=record.is_head(place.peer), again=True)

    def _leave_out(self, peers: Iterable[PeerId]) -> None:
        """They were lost. If one still lives, it learns that its stage is over."""
        for peer in peers:
            self._record.grant.peers.discard(peer)
            if peer in self._calls:
                self._nursery.start_soon(self._calls[peer].release, "the run went on without it")

    async def _plan_anew(self, peers: tuple[PeerId, ...]) -> None:
        """Another plan of this term, from the newest checkpoint. Whatever is in its way, another term may not find."""
        record = self._record
        try:
            record.go_back(await newest_manifest(record, self._deps))
            self._keeper.go_back(record.start_step)
            await self._make_plan(peers)
        except SwarmdError as error:
            self._event(Ended(Phase.FAILED, PeerLost.code, f"{self.state.reason}; {error.message}"))

    async def _make_plan(self, peers: tuple[PeerId, ...]) -> None:
        record = self._record
        plan, reasons = await make_plan(record, peers, self._deps, self._pay.prices)
        self._leave_out(peer for peer in record.holders if peer not in peers)
        record.planned(plan, reasons)
        for stage in plan.stages:
            self._calls[stage.peer].conduct.holds(stage, record.start_step, head=record.is_head(stage.peer))
            record.grant.peers.add(stage.peer)
        for reason in dict.fromkeys(reasons):
            self._deps.events.info(reason, run=record.run)
        parts = await self._pay.price(plan)
        holders, numbers = zip(*((stage.peer, stage_of(plan, at)) for at, stage in enumerate(plan.stages)), strict=True)
        mends, replans = not parts and may_mend(plan, record.spec), not parts and record.asked.restarts > 0
        spares = record.asked.spares if replans else 0
        self._event(Planned(holders, not parts, numbers, mends, replans, spares))
        if parts:
            await self._pay.fund(parts, self._nursery)
            self._event(Funded())

    async def _keep(self, peer: PeerId, report: Checkpointed) -> None:
        before = self._record.checkpoint
        await self._keeper.keep(peer, report)
        if self._record.checkpoint != before:  # a daemon that is killed now must know of it when it comes back
            await save_record(self._record, self._deps)
            self._changed()

    async def _gather(self) -> None:
        await self._keeper.wait_for_last()
        await write_result(self._record, self._deps)
        self._event(Ended(Phase.DONE))

    async def _guarded(self, work: Callable[..., object], *args: object) -> None:
        """A step of our own that fails ends this run with its reason, and no other."""
        try:
            await work(*args)  # type: ignore[misc]
        except SwarmdError as error:
            self._event(Ended(Phase.FAILED, error.code, error.message))
        except OSError as error:
            self._event(Ended(Phase.FAILED, LocalError.code, str(error)))

    def _event(self, event: Event) -> None:
        try:
            self._events.send_nowait(event)
        except trio.WouldBlock:  # the loop is far behind: silence will be noticed before lost words
            if not isinstance(event, Said):
                self._record.state = mind.apply(event, self.state, trio.current_time())
        except (trio.ClosedResourceError, trio.BrokenResourceError):
            pass

    async def _release(self) -> None:
        reason = self.state.reason or "the run is over"
        async with trio.open_nursery() as nursery:
            for call in self._calls.values():
                nursery.start_soon(call.release, reason)
