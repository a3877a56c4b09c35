"""The receiving end of a link."""

from __future__ import annotations

from collections import Counter
from typing import Generic

import trio

from swarmd.net.tensorlink.connection import Connection
from swarmd.net.tensorlink.limits import LinkLimits
from swarmd.net.tensorlink.slots import FrameSink, S
from swarmd.net.tensorlink.throttle import Throttle
from swarmd.net.tensorlink.wire import WireReader, rank_of
from swarmd.net.tensorlink.worker import InPlace, LoopPost, run_interruptible
from swarmd.protocols.errors import PeerLost, ProtocolViolation, RemoteError
from swarmd.protocols.tensors import (
    PREFIX_BYTES,
    Ack,
    Bye,
    FrameHeader,
    Message,
    parse_header,
    parse_prefix,
)

_SCRAP_BYTES = 64 * 1024


class IncomingLink(Generic[S]):
    """Reads one connection in one thread: checks, takes and delivers what the peer sends, in its order.

    While ``allocate`` blocks nothing is read, so a peer's death is then noticed by the link in the other
    direction, not by this one.
    """

    def __init__(
        self,
        connection: Connection,
        sink: FrameSink[S],
        *,
        payload_limit: int,
        check_roots: bool = True,
        throttle: Throttle | None = None,
        limits: LinkLimits | None = None,
        counters: Counter[str] | None = None,
        direct: bool = False,
    ) -> None:
        """``payload_limit`` is the largest payload, in bytes, that the run's shapes allow.

        ``throttle`` is shared by all links of a node.
        ``direct``: ``frame`` and ``ack`` of the sink are called in the link's thread, not in trio's.
        """
        if connection.sends:
            raise ValueError("this end of the connection sends")
        self._connection, self._sink = connection, sink
        self._payload_limit, self._check_roots = payload_limit, check_roots
        self._limits, self._direct = limits or LinkLimits(), direct
        self._reader = WireReader(connection.tls, throttle)
        self._failure: Exception | None = None
        self.counters: Counter[str] = Counter() if counters is None else counters
        self.lost = trio.Event()
        self.reason: RemoteError | None = None
        self.farewell: str | None = None

    @property
    def bytes_received(self) -> int:
        """Bytes of complete messages, headers included."""
        return self._reader.received

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve the link until it ends; then ``lost`` is set, and ``reason`` is None if we were cancelled.

        ``farewell`` is the peer's word if it ended the link on purpose. Raises only what the sink raises.
        """
        self._post = InPlace() if self._direct else LoopPost(self._fail)
        self._connection.begin(self._limits.silence)
        task_status.started()
        try:
            self.reason = await run_interruptible(self._serve, self._interrupt, "swarmd-link-in")
        finally:
            self._connection.close()
            self.counters["links_violated"] += isinstance(self.reason, ProtocolViolation)
            self.lost.set()
        if self._failure is not None:
            raise self._failure

    def _interrupt(self) -> None:
        self._connection.interrupt()
        self._reader.share.stop()
        self._sink.interrupt()

    def _fail(self, error: Exception) -> None:
        self._failure = self._failure or error
        self._interrupt()

    def _serve(self) -> RemoteError:
        try:
            while True:
                message = self._next()
                if isinstance(message, Bye):
                    self.farewell = message.reason
                    return PeerLost(f"the peer closed the link: {message.reason or 'no reason given'}")
                if isinstance(message, FrameHeader):
                    self._take(message)
                elif isinstance(message, Ack):
                    self._post(self._acknowledged, message)
        except RemoteError as error:
            # A fresh error: the traceback of the one caught would keep the slot's memory from being released.
            return type(error)(error.message, hint=error.hint)

    def _next(self) -> Message:
        prefix = parse_prefix(self._reader.read(PREFIX_BYTES), payload_limit=self._payload_limit)
        return parse_header(prefix, self._reader.read(prefix.header_bytes))

    def _take(self, header: FrameHeader) -> None:
        slot = self._sink.allocate(header)
        if slot is None:
            self._skip(header.payload_bytes)
            return
        try:
            self._receive(header, slot.view)
        except BaseException:
            self._sink.discard(slot)
            raise
        self._post(self._arrived, header, slot)

    def _receive(self, header: FrameHeader, view: memoryview) -> None:
        if view.nbytes != header.payload_bytes:
            raise ValueError(f"a slot of {view.nbytes} bytes for a payload of {header.payload_bytes}")
        self._reader.fill(view, rank_of(header))
        if self._check_roots and header.root_of(view) != header.root:
            self._post(self._count, "bad_roots")
            raise ProtocolViolation("a tensor's bytes do not have the root in its header")

    def _skip(self, count: int) -> None:
        scrap = memoryview(bytearray(min(count, _SCRAP_BYTES)))
        for at in range(0, count, _SCRAP_BYTES):
            self._reader.fill(scrap[: count - at])
        self._post(self._count, "frames_skipped")

    def _arrived(self, header: FrameHeader, slot: S) -> None:
        self._count("frames_received")
        self.counters["payload_bytes_received"] += header.payload_bytes
        self._sink.frame(header, slot)

    def _acknowledged(self, ack: Ack) -> None:
        self._count("acks_received")
        self._sink.ack(ack)

    def _count(self, name: str) -> None:
        self.counters[name] += 1
