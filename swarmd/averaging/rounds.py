"""One round of averaging over a session: the machines' actions carried out, the arithmetic in worker threads."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import trio

from swarmd.averaging.arithmetic import all_finite, digest_of, mean_of
from swarmd.averaging.codecs import CODECS, Bytes, Floats
from swarmd.averaging.report import RoundFailed, RoundReport, report_of
from swarmd.averaging.session import Session
from swarmd.protocols.averaging import LEADER, Commit, Complaint, Have, Message, Ready, RoundPlan
from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.tensors import Direction, FrameKey
from swarmd.scheduler.averaging_actions import Action, Adopt, Expect, Fail, Patience, SendPart, SendResult, Sum, Tell
from swarmd.scheduler.averaging_leader import Leader
from swarmd.scheduler.averaging_member import Member


@dataclass(frozen=True, slots=True)
class Averaged:
    """The mean, float32, the same bits at every member of the report; and what it is a mean of."""

    values: Floats
    report: RoundReport


async def average(session: Session, plan: RoundPlan, vector: Floats, patience: Patience | None = None) -> Averaged:
    """Average ``vector`` (float32, ``plan.values`` long; not to be changed meanwhile) with the plan's members.

    A result may be an average over fewer than all members: look at ``report.complete``.

    Raises:
        RoundFailed: nothing was adopted here, and why. Others may have adopted a result: this replica must take
            the state of one that did, if there is one, before it averages again.
        UsageError: the plan does not name us, or its codec or size is not the vector's; or a value cannot travel.
    """
    _check(session, plan, vector)
    return await _Round(session, plan, vector, patience or Patience()).run()


def _check(session: Session, plan: RoundPlan, vector: Floats) -> None:
    if session.me not in [seat.peer for seat in plan.seats] or plan.run != session.run:
        raise UsageError("this round is not ours", hint="name this peer among its seats, and the session's run")
    codec = CODECS.get(plan.codec)
    if codec is None:
        raise UsageError(f"no codec is named {plan.codec!r}", hint=f"choose one of {', '.join(CODECS)}")
    if vector.dtype != np.float32 or vector.shape != (plan.values,) or not vector.flags.c_contiguous:
        raise UsageError(f"a round of {plan.values} values needs them in one float32 vector")
    largest = max(float(vector.max()), -float(vector.min()))
    if not largest <= codec.largest:  # also true of a NaN
        raise UsageError(f"a value of {largest:g} cannot travel as {plan.codec}", hint="training has diverged")


class _Round:
    """State of one round here."""

    def __init__(self, session: Session, plan: RoundPlan, vector: Floats, patience: Patience) -> None:
        now = trio.current_time()
        self._session, self._plan, self._vector, self._name = session, plan, vector, plan.name()
        self._peers = [seat.peer for seat in plan.seats]
        self._place = {peer: place for place, peer in enumerate(self._peers)}
        self._me = self._place[session.me]
        self._codec, self._slices = CODECS[plan.codec], plan.slices()
        self._member = Member(plan, self._me, patience, now)
        self._leader = Leader(plan, patience, now) if self._me == LEADER else None
        self._begun, self._traffic = now, session.traffic()
        self._attempts = [-1] * len(self._slices)
        self._parts: list[dict[int, Bytes]] = [{} for _ in self._slices]
        self._results: list[Bytes | None] = [None] * len(self._slices)
        self._values = np.empty(plan.values, np.float32)
        self._later: dict[int, Floats] = {}
        self._local: deque[Message] = deque()
        self._changed, self._over = trio.Event(), trio.Event()
        self._commit: Commit | None = None
        self._reason = ""
        self._threads = trio.CapacityLimiter(2)

    async def run(self) -> Averaged:
        """To the end, or until cancelled."""
        self._session.room.begin(self._plan.term, self._plan.number)
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                nursery.start_soon(self._tick)
                self._act(self._member.start())
                self._session.enter(self, self._name)
                for peer in self._peers:
                    if peer != self._session.me and peer not in self._session.connected():
                        self.gone(peer)
                await self._over.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._session.leave()
        if self._commit is None:
            raise RoundFailed(
                f"round {self._plan.number} has failed: {self._reason}",
                hint="take the state of a replica that went on, if there is one, then average again",
            )
        return await self._averaged(self._commit)

    # What the session tells (``Listener``).

    def message(self, peer: PeerId, message: Message) -> None:
        """A member's message; one of another round is kept for it."""
        if message.round != self._name or peer not in self._place:
            self._session.keep(peer, message)
        else:
            self._hear(self._place[peer], message)

    def slice_came(self, peer: PeerId, key: FrameKey, raw: Bytes) -> None:
        """A whole part, or a whole result."""
        number = key.micro_batch
        if key.direction == Direction.FORWARD:
            self._parts[number][self._place[peer]] = raw
            self._act(self._member.part_came(number, key.attempt, self._place[peer]))
        else:
            self._nursery.start_soon(self._read, number, key.attempt, raw)

    def gone(self, peer: PeerId) -> None:
        """A member is lost to us."""
        place = self._place.get(peer)
        if place is not None:
            now = trio.current_time()
            self._act(self._member.lost(place, now))
            if self._leader is not None:
                self._act(self._leader.lost(place, now))

    # What the machines ask for.

    def _act(self, actions: Iterable[Action]) -> None:
        for action in actions:
            self._carry_out(action)
        while self._local:
            self._hear(self._me, self._local.popleft())
        self._changed.set()

    def _carry_out(self, action: Action) -> None:
        match action:
            case Tell(to, message) if to == self._me:
                self._local.append(message)
            case Tell(to, message):
                self._session.tell(self._peers[to], message, self._key(Direction.EVALUATE, 0, 0, 0))
            case Expect():
                self._expect(action)
            case SendPart(number, attempt, to):
                self._nursery.start_soon(self._send_part, number, attempt, to)
            case SendResult(number, attempt, to):
                result = self._results[number]
                if result is not None:
                    self._nursery.start_soon(self._send, Direction.BACKWARD, number, attempt, to, result)
            case Sum():
                self._nursery.start_soon(self._sum, action)
            case Adopt(commit):
                self._commit = commit
                self._over.set()
            case Fail(reason):
                self._reason = reason
                self._over.set()

    def _hear(self, sender: int, message: Message) -> None:
        now = trio.current_time()
        try:
            if isinstance(message, Ready | Have | Complaint):
                if self._leader is None:
                    raise ProtocolViolation("we do not lead this round")
                self._act(self._leader.heard(sender, message, now))
            else:
                self._act(self._member.heard(sender, message, now))
        except ProtocolViolation:
            self._session.drop(self._peers[sender])

    def _expect(self, action: Expect) -> None:
        part, number = self._slices[action.slice], action.slice
        self._attempts[number] = action.attempt
        self._parts[number] = {}
        self._results[number] = None
        size = self._codec.size(part.end - part.first)
        if action.attempt:
            # A link may still be writing what came of an earlier attempt.
            self._later[number] = np.empty(part.end - part.first, np.float32)
        if action.owner == self._me:
            senders = [seat.peer for seat in self._plan.seats if seat.weight and seat.peer != self._session.me]
            places = {peer: np.empty(size, np.uint8) for peer in senders}
            self._session.room.expect(number, action.attempt, Direction.FORWARD, places)
        else:
            place = self._place_of(number).view(np.uint8) if self._plan.codec == "float32" else None
            raw = np.empty(size, np.uint8) if place is None else place
            self._session.room.expect(number, action.attempt, Direction.BACKWARD, {self._peers[action.owner]: raw})

    def _place_of(self, number: int) -> Floats:
        """Where a slice's values go."""
        part = self._slices[number]
        return self._later.get(number, self._values[part.first : part.end])

    async def _send_part(self, number: int, attempt: int, to: int) -> None:
        raw = await self._encoded(number)
        await self._send(Direction.FORWARD, number, attempt, to, raw)

    async def _send(self, direction: Direction, number: int, attempt: int, to: int, raw: Bytes) -> None:
        await self._session.send(
            self._peers[to],
            lambda chunk: self._key(direction, number, attempt, chunk),
            raw,
            lambda: self._attempts[number] == attempt,
        )

    async def _sum(self, asked: Sum) -> None:
        number, place = asked.slice, self._place_of(asked.slice)
        parts = dict(self._parts[number])
        if self._me in asked.contributors:
            parts[self._me] = await self._encoded(number)
        parts = {place: parts[place] for place in asked.contributors}
        weights = {place: self._plan.seats[place].weight for place in parts}
        mean = await trio.to_thread.run_sync(mean_of, self._codec, parts, weights, place, limiter=self._threads)
        if self._attempts[number] == asked.attempt:
            self._parts[number] = {}
            self._results[number] = mean.raw
            self._act(self._member.summed(number, asked.attempt, mean.contributors, mean.digest))

    async def _read(self, number: int, attempt: int, raw: Bytes) -> None:
        place = self._place_of(number)

        def read() -> tuple[bool, bytes]:
            values = self._codec.decode(raw, len(place))
            if not np.may_share_memory(values, place):
                place[:] = values
            return all_finite(place), digest_of(raw)

        fine, digest = await trio.to_thread.run_sync(read, limiter=self._threads)
        if self._attempts[number] == attempt:
            self._act(self._member.result_came(number, attempt, digest if fine else None))

    async def _encoded(self, number: int) -> Bytes:
        part = self._slices[number]
        values = self._vector[part.first : part.end]
        return await trio.to_thread.run_sync(self._codec.encode, values, limiter=self._threads)

    async def _tick(self) -> None:
        while True:
            now = trio.current_time()
            self._act(self._member.tick(now))
            due = self._member.wake_at()
            if self._leader is not None:
                self._act(self._leader.tick(now))
                due = min(due, self._leader.wake_at())
            self._changed = trio.Event()
            with trio.move_on_at(max(due, now + 0.01)):
                await self._changed.wait()

    async def _averaged(self, commit: Commit) -> Averaged:
        sent, received = self._session.traffic()
        traffic = sent - self._traffic[0], received - self._traffic[1]
        values = self._values
        if self._later:
            parts = [self._place_of(number) for number in range(len(self._slices))]
            values = await trio.to_thread.run_sync(np.concatenate, parts)
        return Averaged(values, report_of(self._plan, commit, trio.current_time() - self._begun, traffic))

    def _key(self, direction: Direction, number: int, attempt: int, chunk: int) -> FrameKey:
        plan = self._plan
        return FrameKey(plan.run, plan.term, plan.number, number, chunk, direction, attempt)
