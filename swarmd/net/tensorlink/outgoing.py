"""The sending end of a link."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable

import trio

from swarmd.net.tensorlink.connection import Connection
from swarmd.net.tensorlink.limits import LinkLimits
from swarmd.net.tensorlink.outbox import Item, Outbox, nothing
from swarmd.net.tensorlink.throttle import Throttle
from swarmd.net.tensorlink.wire import WireWriter, rank_of
from swarmd.net.tensorlink.worker import InPlace, LoopPost, run_interruptible
from swarmd.protocols.errors import PeerLost, Refused
from swarmd.protocols.tensors import MAX_FAREWELL, Ack, Bye, FrameHeader, encode_header


class OutgoingLink:
    """Writes one connection in one thread, in the order of the calls.

    Its methods are for the trio thread, but ``send`` and ``send_ack`` may be called from any.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        throttle: Throttle | None = None,
        limits: LinkLimits | None = None,
        counters: Counter[str] | None = None,
        direct: bool = False,
    ) -> None:
        """``throttle`` is shared by all links of a node.

        ``direct``: ``done`` is called in the link's thread, not in trio's, while the link lives.
        """
        if not connection.sends:
            raise ValueError("this end of the connection receives")
        self._connection = connection
        self._limits = limits or LinkLimits()
        self._writer = WireWriter(connection.tls, throttle)
        self._outbox = Outbox(self._writer, self._report, ping_every=self._limits.ping_every)
        self._queued: Counter[str] = Counter()
        self._peer_closed = trio.Event()
        self._seen: PeerLost | None = None
        self._failure: Exception | None = None
        self._closing = False
        self._post: LoopPost | InPlace | None = None
        self._direct = direct
        self._queueing = threading.Lock()
        self._ended = False
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.lost = trio.Event()
        self.reason: PeerLost | None = None

    @property
    def bytes_sent(self) -> int:
        """Bytes given to the kernel, headers included."""
        return self._writer.sent

    def send(self, header: FrameHeader, payload: memoryview, done: Callable[[], None] = nothing) -> None:
        """Queue a tensor. ``payload`` must not change until ``done`` is called.

        ``done`` is called exactly once, see ``direct``: when the bytes are with the kernel, or when
        the link has ended and will not need them.

        Raises:
            Refused: too many frames are queued already; ``done`` is not called.
            PeerLost: the link has ended; ``done`` is not called.
        """
        view = payload.cast("B")
        if view.nbytes != header.payload_bytes:
            raise ValueError(f"{view.nbytes} bytes for a header that says {header.payload_bytes}")
        self._put(Item(encode_header(header), "frames", view, rank_of(header), done), self._limits.queued_frames)

    def send_ack(self, ack: Ack, *, patient: bool = False) -> None:
        """Queue an acknowledgement. Raises as ``send``; its bound is another.

        A ``patient`` one wakes nobody: it leaves with the next tensor, with some of its kind, or with a ping.
        """
        self._put(Item(encode_header(ack), "acks"), self._limits.queued_acks, patient=patient)

    async def close(self, farewell: str = "") -> None:
        """End the link once everything queued is sent, or soon. Returns when it has ended; never raises."""
        if self._post is None:
            self._finish()
        elif not self._closing:
            with self._queueing:
                self._outbox.put(Item(encode_header(Bye(farewell[:MAX_FAREWELL])), "byes", last=True))
                self._closing = True
        self._closing = True
        with trio.move_on_after(self._limits.farewell):
            await self.lost.wait()
        if not self.lost.is_set():
            self._interrupt()
            await self.lost.wait()

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the link until it ends; then ``lost`` is set, and ``reason`` is None if we ended it.

        Raises only what a ``done`` raises.
        """
        self._post = InPlace() if self._direct else LoopPost(self._fail)
        self._connection.begin(self._limits.stall)
        task_status.started()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                self.reason = await run_interruptible(self._serve, self._interrupt, "swarmd-link-out")
                if self.reason is None:
                    with trio.move_on_after(self._limits.farewell):
                        await self._peer_closed.wait()
                nursery.cancel_scope.cancel()
        finally:
            self._finish()
        if self._failure is not None:
            raise self._failure

    def _put(self, item: Item, bound: int, *, patient: bool = False) -> None:
        with self._queueing:
            if self._closing or self._ended:
                raise self.reason or PeerLost("the link is closed")
            if self._queued[item.kind] >= bound:
                hint = "wait for their done before sending more"
                raise Refused(f"the link has {bound} {item.kind} queued", hint=hint)
            self._queued[item.kind] += 1
            (self._outbox.put_patient if patient else self._outbox.put)(item)

    async def _watch(self) -> None:
        """The peer never writes here, so anything to read is its end. Costs nothing until then."""
        await trio.lowlevel.wait_readable(self._connection.tls)
        self._seen = PeerLost(f"the peer {self._connection.what_is_readable()}")
        self._peer_closed.set()
        self._interrupt()

    def _interrupt(self) -> None:
        self._connection.interrupt()
        self._outbox.stop()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._interrupt()

    def _finish(self) -> None:
        self._connection.close()
        with self._queueing:
            self._ended = True
            left = tuple(self._outbox.leftovers())
        self.lost.set()
        self._release(left)

    def _written(self, items: tuple[Item, ...]) -> None:
        with self._queueing:
            self._queued.subtract(item.kind for item in items)
        for item in items:
            self.counters[f"{item.kind}_sent"] += 1
            self.counters["payload_bytes_sent"] += 0 if item.payload is None else item.payload.nbytes
        self._release(items)

    def _release(self, items: tuple[Item, ...]) -> None:
        for item in items:
            item.payload = None
            item.done()

    # Below: in the link's thread.

    def _serve(self) -> PeerLost | None:
        try:
            self._outbox.serve()
        except PeerLost as error:
            # A fresh error: the traceback of the one caught would keep payloads from being released.
            return self._seen or PeerLost(error.message)
        return None

    def _report(self, items: tuple[Item, ...]) -> None:
        if self._post is not None:
            self._post(self._written, items)
