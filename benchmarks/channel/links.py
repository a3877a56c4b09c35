"""Tensor links, one each way: frames forth, an acknowledgement for each back."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import trio

from benchmarks.channel.processes import HOST, cpu_seconds, say
from swarmd.net.tensorlink import (
    Connection,
    Flow,
    HeapSlot,
    IncomingLink,
    LinkSpec,
    OutgoingLink,
    TensorListener,
    Throttle,
    Ticket,
    dial_link,
)
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.tensors import Ack, FrameHeader, FrameKey, tile_root

RUN = RunId("ab" * 32)
FORTH, BACK = (LinkSpec(PeerId("bench"), RUN, flow) for flow in Flow)
_MOST_UNSENT = 16


class Ring:
    """One buffer for every frame: what a frame's owner would do with it is not measured here."""

    def __init__(self, size: int, frame: Callable[[FrameHeader], None], ack: Callable[[Ack], None]) -> None:
        self._slot = HeapSlot(memoryview(bytearray(size)))
        self._frame, self.ack = frame, ack

    def allocate(self, header: FrameHeader) -> HeapSlot:
        return self._slot

    def discard(self, slot: HeapSlot) -> None:
        return

    def frame(self, header: FrameHeader, slot: HeapSlot) -> None:
        self._frame(header)

    def interrupt(self) -> None:
        return


def make_header(payload: bytes, number: int, *, root: bool) -> FrameHeader:
    """A float32 tensor of rows of 256 numbers."""
    shape = (len(payload) // 1024, 256)
    digest = tile_root(payload, shape, "float32") if root else bytes(32)
    return FrameHeader(1, FrameKey(RUN, 1, 0, number, 1, 0), 1, 0, "raw", "float32", shape, digest)


class Ends:
    """A link each way over two connections."""

    def __init__(
        self,
        out: Connection,
        into: Connection,
        size: int,
        roots: bool,
        on_frame: Callable[[FrameHeader], None],
        throttle: Throttle | None = None,
    ) -> None:
        self.acks = 0
        self.came = trio.Event()
        self.out = OutgoingLink(out, throttle=throttle)
        self.into = IncomingLink(into, Ring(size, on_frame, self._count), payload_limit=size, check_roots=roots)

    def _count(self, ack: Ack) -> None:
        self.acks += 1
        self.wake()

    def wake(self) -> None:
        """Let whoever waits look again."""
        self.came.set()
        self.came = trio.Event()

    async def start(self, nursery: trio.Nursery) -> None:
        """Run both links."""
        await nursery.start(self.out.run)
        await nursery.start(self.into.run)


def ticket_words(ticket: Ticket) -> list[Any]:
    """A ticket as it travels in JSON."""
    return [ticket.ticket.hex(), ticket.certificate_sha256.hex(), ticket.port]


def dial_ticket(words: list[Any]) -> Ticket:
    """And back."""
    return Ticket(bytes.fromhex(words[0]), bytes.fromhex(words[1]), words[2])


async def dial_both(
    nursery: trio.Nursery, offer: dict[str, Any], size: int, roots: bool, on_frame: Callable[[FrameHeader], None]
) -> Ends:
    """A link each way to the process that made the offer."""
    forth, back = map(dial_ticket, offer["tickets"])
    out, into = await dial_link(HOST, forth, FORTH), await dial_link(HOST, back, BACK)
    ends = Ends(out, into, size, roots, on_frame)
    await ends.start(nursery)
    return ends


async def receive(total: int, roots: bool, frame: int) -> None:
    """Acknowledge every frame."""
    listener = TensorListener(HOST)
    left = total // frame

    def on_frame(header: FrameHeader) -> None:
        nonlocal left
        left -= 1
        ends.out.send_ack(Ack(header.key, header.root))
        if left == 0:
            say(cpu=cpu_seconds() - begun)

    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        tickets = [listener.issue_ticket(spec) for spec in (FORTH, BACK)]
        say(tickets=[ticket_words(each) for each in tickets])
        into, out = [await listener.accept(ticket) for ticket in tickets]
        begun = cpu_seconds()
        ends = Ends(out, into, frame, roots, on_frame)
        await ends.start(nursery)
        await ends.into.lost.wait()
        nursery.cancel_scope.cancel()


async def send(total: int, roots: bool, frame: int, offer: dict[str, Any]) -> None:
    """From the first frame to the last acknowledgement."""
    async with trio.open_nursery() as nursery:
        ends = await dial_both(nursery, offer, frame, roots, lambda header: None)
        payload, unsent = os.urandom(frame), 0

        def done() -> None:
            nonlocal unsent
            unsent -= 1
            ends.wake()

        begun, cpu = time.perf_counter(), cpu_seconds()
        for number in range(total // frame):
            while unsent >= _MOST_UNSENT:
                await ends.came.wait()
            unsent += 1
            ends.out.send(make_header(payload, number, root=roots), memoryview(payload), done)
        while ends.acks < total // frame:
            await ends.came.wait()
        say(seconds=time.perf_counter() - begun, cpu=cpu_seconds() - cpu)
        nursery.cancel_scope.cancel()
