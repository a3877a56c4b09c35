"""The tensor links of one place of a plan: two to each neighbour, one for each direction.

Neighbours are the places of the stages before and after, and the other replicas of the own stage. Who sends, dials.
Frames that arrive are put into the compute process's slots and named to it; frames it has ready are sent from their
slots, which it gets back once the bytes are on the wire. Every frame is acknowledged on the link that goes the
other way.

A frame's way through the daemon touches two threads, the link's and the one that reads from the compute process,
and never the trio loop: waking a thread costs more than all else that a small frame needs. For the same
reason acknowledgements wait for company, and slots are given back in pairs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import trio

from swarmd.compute.layout import SHARE_BYTES, layout_of
from swarmd.compute.messages import Arrived, Outgoing
from swarmd.compute.process import Compute
from swarmd.net.tensorlink import Flow, IncomingLink, LinkSpec, OutgoingLink, Ticket, dial_link
from swarmd.protocols.errors import PeerLost, ProtocolViolation, RemoteError, TimedOut
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.messages import LinkTicket, OpenLink
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan
from swarmd.protocols.tensors import Ack, FrameHeader
from swarmd.runs.deps import RunDeps
from swarmd.runs.expecting import AFTER, BEFORE, BESIDE, expected_frames
from swarmd.runs.link_desk import ask_for_ticket
from swarmd.runs.slots import HeldSlot, IncomingSlots, StageSlots
from swarmd.scheduler.around import around, stage_of

Note = Callable[[int, FrameHeader], None]
"""Told of each frame that crossed, and the place it came from or went to."""


class SlotSink:
    """Puts one neighbour's frames into the compute process's slots (``FrameSink``)."""

    def __init__(
        self,
        compute: Compute,
        at: int,
        pool: IncomingSlots,
        expected: Callable[[FrameHeader], bool],
        note: Note,
    ) -> None:
        """For the frames of the neighbour ``at`` this place."""
        self.pool, self._at = pool, at
        self.back: OutgoingLink | None = None
        """The link that goes the other way: acknowledgements travel on it."""
        self._compute, self._expected, self._note = compute, expected, note

    def allocate(self, header: FrameHeader) -> HeldSlot | None:
        """A free slot; waits for one. None when the plan has ended."""
        if not self._expected(header):
            raise ProtocolViolation(f"a frame this stage does not expect: {header.key}, {header.codec}, {header.shape}")
        index = self.pool.take()
        if index is None:
            return None
        return HeldSlot(index, self._compute.memory.slot(index, header.payload_bytes))

    def discard(self, slot: HeldSlot) -> None:
        """The frame did not come whole."""
        self.pool.give(slot.index)

    def frame(self, header: FrameHeader, slot: HeldSlot) -> None:
        """Name the frame to the compute process, and acknowledge it. In the link's thread."""
        self._note(self._at, header)
        self._compute.send(Arrived(header, slot.index, self._at))
        if self.back is not None:
            self.back.send_ack(Ack(header.key, header.root), patient=True)

    def ack(self, ack: Ack) -> None:
        """The neighbour has a frame of ours; a step commits without waiting for this."""

    def interrupt(self) -> None:
        """The link ends."""
        self.pool.close()


class StageLinks:
    """The links of one place of one plan: ``serve`` keeps them, and ``retire`` ends them when another plan follows."""

    def __init__(
        self,
        deps: RunDeps,
        compute: Compute,
        slots: StageSlots,
        spec: JobSpec,
        plan: Plan,
        place: int,
        broken: Callable[[PeerId, str], None],
        note: Note,
    ) -> None:
        """``slots`` are the compute process's; ``broken`` is told when a link ends before its time.

        ``note`` gets the neighbour's place and the header of each frame that was sent, or has come whole, in one of
        several threads.
        """
        self.place, self.around = place, around(plan, place, apart=spec.lanes > 1)
        self._deps, self._compute, self._plan = deps, compute, plan
        self._broken, self._note, self._slots = broken, note, slots
        self._connecting, self._retired = trio.CancelScope(), trio.Event()
        layout = layout_of(spec)
        self._layout, self._neighbours = layout, self.around.neighbours
        self._largest = max(layout.slot_bytes, SHARE_BYTES)
        self._sinks = dict(self._make_sinks(spec))
        self._out: dict[int, OutgoingLink] = {}
        self._in: dict[int, IncomingLink[HeldSlot]] = {}
        self._complete = trio.Event()

    async def serve(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Keep the links until ``retire``, or until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._retired.set()

    async def retire(self) -> None:
        """End all links; every slot they had is free again when this returns."""
        self._connecting.cancel()
        self._nursery.cancel_scope.cancel()
        await self._retired.wait()
        self._slots.reopen()

    async def connect(self) -> bool:
        """Open our sending links and wait for the neighbours' ones; False if the plan ended first."""
        with self._connecting:
            async with trio.open_nursery() as nursery:
                for at in self._neighbours:
                    nursery.start_soon(self._try, at)
            if self._neighbours:
                await self._complete.wait()
        return not self._connecting.cancelled_caught

    def invite(self, peer: PeerId, request: OpenLink) -> LinkTicket:
        """A ticket for a neighbour of this plan (``Invites``)."""
        plan = self._plan
        if (request.term, request.plan, request.to_stage) != (plan.term, plan.number, self.place):
            raise ProtocolViolation("a link for another term, plan or stage")
        at = request.from_stage
        if at not in self._neighbours or plan.stages[at].peer != peer or at in self._in:
            raise ProtocolViolation("a link from a peer that is no neighbour here, or has one already")
        ticket = self._deps.tensors.issue_ticket(LinkSpec(peer, plan.run, Flow.TO_LISTENER))
        self._nursery.start_soon(self._accept, at, ticket)
        return LinkTicket(ticket.ticket, ticket.certificate_sha256, ticket.port)

    def _make_sinks(self, spec: JobSpec) -> Iterator[tuple[int, SlotSink]]:
        layout, around = self._layout, self.around
        ways = [(seat.place, BEFORE, layout.from_previous) for seat in around.before]
        ways += [(at, BESIDE, layout.from_replica(number)) for number, at in enumerate(around.others)]
        ways += [(seat.place, AFTER, layout.from_next) for seat in around.after]
        for at, way, slots in ways:
            expected = expected_frames(spec, self._plan, self.place, way)
            yield at, SlotSink(self._compute, at, self._slots.of(slots), expected, self._note)

    def send(self, frame: Outgoing) -> None:
        """Send a frame from its slot; from any thread. One of an older plan, or to a link that broke, goes nowhere."""
        link = self._out.get(frame.to) if frame.header.plan == self._plan.number else None
        view = self._compute.memory.slot(frame.slot, frame.header.payload_bytes)
        try:
            if link is None:
                raise PeerLost("there is no such link")
            link.send(frame.header, view, lambda: self._slots.sent(frame.slot))
        except RemoteError:  # a link that has broken says so itself
            self._slots.sent(frame.slot)
        else:
            self._note(frame.to, frame.header)

    def traffic(self) -> tuple[int, int]:
        """Bytes sent and received by all links."""
        return sum(link.bytes_sent for link in self._out.values()), sum(
            link.bytes_received for link in self._in.values()
        )

    async def _try(self, at: int) -> None:
        try:
            await self._dial(at)
        except RemoteError as error:
            self._broken(self._plan.stages[at].peer, error.message)

    async def _dial(self, at: int) -> None:
        plan, there = self._plan, self._plan.stages[at]
        if there.peer not in self._deps.transport.connected():
            await self._deps.transport.dial(there.peer, there.addresses)
        request = OpenLink(plan.run, plan.term, plan.number, self.place, at)
        answer = await ask_for_ticket(self._deps.transport, there.peer, request)
        ticket = Ticket(answer.ticket, answer.certificate, answer.port)
        link = await self._dial_any(at, ticket)
        self._out[at] = link
        self._sinks[at].back = link
        self._nursery.start_soon(self._watch, at, link)
        self._check_complete()

    async def _dial_any(self, at: int, ticket: Ticket) -> OutgoingLink:
        peer = self._plan.stages[at].peer
        spec = LinkSpec(peer, self._plan.run, Flow.TO_LISTENER)
        known = chain(self._deps.transport.remote_addresses(peer), self._plan.stages[at].addresses)
        reasons: list[str] = []
        for host in dict.fromkeys(address.split("/")[2] for address in known):
            try:
                connection = await dial_link(host, ticket, spec)
                return OutgoingLink(connection, throttle=self._deps.routes.rates.up, direct=True)
            except (PeerLost, TimedOut) as error:
                reasons.append(error.message)
        raise PeerLost(f"no tensor link to {short(peer)}: {'; '.join(reasons) or 'no address is known'}")

    async def _accept(self, at: int, ticket: Ticket) -> None:
        try:
            connection = await self._deps.tensors.accept(ticket)
        except TimedOut:
            return  # the neighbour may ask again
        link = IncomingLink(
            connection,
            self._sinks[at],
            payload_limit=self._largest,
            throttle=self._deps.routes.rates.down,
            direct=True,
        )
        self._in[at] = link
        self._nursery.start_soon(self._watch, at, link)
        self._check_complete()

    async def _watch(self, at: int, link: OutgoingLink | IncomingLink[HeldSlot]) -> None:
        await link.run()
        reason: RemoteError | None = link.reason
        peer = self._plan.stages[at].peer
        where = f"the link with stage {stage_of(self._plan, at)} ({short(peer)})"
        self._broken(peer, f"{where} broke: {reason.message if reason else 'closed'}")

    def _check_complete(self) -> None:
        if len(self._out) == len(self._in) == len(self._neighbours):
            self._complete.set()
