"""Tensor links over real loopback sockets: what gets through, what does not, and how links end."""

from __future__ import annotations

import os
import queue
import random
import socket
import struct
import threading
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace

import pytest
import trio
import trio.testing

from swarmd.net.tensorlink import (
    Connection,
    DoorLimits,
    Flow,
    HeapSlot,
    HeapSlots,
    IncomingLink,
    LinkLimits,
    LinkSpec,
    OutgoingLink,
    TensorListener,
    Throttle,
    dial_link,
)
from swarmd.net.tensorlink.halfopen import HalfOpen
from swarmd.net.tensorlink.tickets import TicketBook
from swarmd.net.tensorlink.wire import WireReader
from swarmd.protocols.codecs import CODECS, payload_bytes
from swarmd.protocols.errors import (
    PeerLost,
    ProtocolViolation,
    Refused,
    RemoteError,
    StateError,
    TimedOut,
)
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.tensors import (
    PREFIX_BYTES,
    Ack,
    FrameHeader,
    FrameKey,
    Ping,
    encode_header,
    tile_root,
)

HOST = "127.0.0.1"
RUN = RunId("cd" * 32)
LIMIT = 32 << 20
SPEC = LinkSpec(PeerId("peer"), RUN, Flow.TO_LISTENER)
BACK = LinkSpec(PeerId("peer"), RUN, Flow.TO_DIALLER)
net = pytest.mark.net


def frame(number: int, rows: int = 64) -> tuple[FrameHeader, memoryview]:
    """A float32 tensor of ``rows`` rows of 256 numbers, another one for each number."""
    payload = number.to_bytes(4, "big") * (rows * 256)
    key = FrameKey(RUN, 1, 0, number, 4, 0)
    root = tile_root(payload, (rows, 256), "float32")
    return FrameHeader(1, key, 1, 0, "raw", "float32", (rows, 256), root), memoryview(payload)


@dataclass
class Sink:
    """Keeps what comes; ``gate`` closed makes ``allocate`` block as a full GPU does."""

    slots: HeapSlots = field(default_factory=lambda: HeapSlots(64 << 20))
    frames: list[tuple[FrameHeader, bytes]] = field(default_factory=list)
    acks: list[Ack] = field(default_factory=list)
    discarded: int = 0
    skip: bool = False
    keep: bool = False
    held: list[HeapSlot] = field(default_factory=list)
    came: trio.Event = field(default_factory=trio.Event)

    def allocate(self, header: FrameHeader) -> HeapSlot | None:
        return None if self.skip else self.slots.allocate(header.payload_bytes)

    def discard(self, slot: HeapSlot) -> None:
        self.discarded += 1
        self.slots.release(slot)

    def frame(self, header: FrameHeader, slot: HeapSlot) -> None:
        self.frames.append((header, bytes(slot.view)))
        if self.keep:
            self.held.append(slot)
        else:
            self.slots.release(slot)
        self._wake()

    def ack(self, ack: Ack) -> None:
        self.acks.append(ack)
        self._wake()

    def interrupt(self) -> None:
        self.slots.interrupt()

    def _wake(self) -> None:
        self.came.set()
        self.came = trio.Event()

    async def until(self, *, frames: int = 0, acks: int = 0) -> None:
        while len(self.frames) < frames or len(self.acks) < acks:
            await self.came.wait()


@dataclass
class Pair:
    """Both ends of one link."""

    out: OutgoingLink
    into: IncomingLink[HeapSlot]
    sink: Sink


@asynccontextmanager
async def listening(limits: DoorLimits | None = None) -> AsyncIterator[TensorListener]:
    """A listener on loopback; everything is over at the end, and soon."""
    listener = TensorListener(HOST, limits=limits)
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(listener.serve)
            yield listener
            nursery.cancel_scope.cancel()


async def connect(listener: TensorListener, spec: LinkSpec = SPEC) -> tuple[Connection, Connection]:
    """(sending end, receiving end) of a fresh connection."""
    ticket = listener.issue_ticket(spec)
    dialled = await dial_link(HOST, ticket, spec)
    accepted = await listener.accept(ticket)
    return (dialled, accepted) if dialled.sends else (accepted, dialled)


@asynccontextmanager
async def linked(
    spec: LinkSpec = SPEC,
    sink: Sink | None = None,
    out_limits: LinkLimits | None = None,
    in_limits: LinkLimits | None = None,
    up: Throttle | None = None,
    down: Throttle | None = None,
) -> AsyncIterator[Pair]:
    """A running link."""
    async with listening() as listener, trio.open_nursery() as nursery:
        sending, receiving = await connect(listener, spec)
        sink = sink or Sink()
        out = OutgoingLink(sending, limits=out_limits, throttle=up)
        into = IncomingLink(receiving, sink, payload_limit=LIMIT, limits=in_limits, throttle=down)
        await nursery.start(out.run)
        await nursery.start(into.run)
        yield Pair(out, into, sink)
        nursery.cancel_scope.cancel()


@asynccontextmanager
async def receiving(sink: Sink) -> AsyncIterator[tuple[IncomingLink[HeapSlot], Connection]]:
    """A running receiver, and the bare connection of a sender that may misbehave."""
    async with listening() as listener, trio.open_nursery() as nursery, AsyncExitStack() as stack:
        sending, taking = await connect(listener)
        stack.callback(sending.close)
        sending.begin(10)
        into = IncomingLink(taking, sink, payload_limit=LIMIT)
        await nursery.start(into.run)
        yield into, sending
        nursery.cancel_scope.cancel()


def link_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("swarmd-link")]


# What gets through.


@net
@pytest.mark.parametrize("spec", [SPEC, BACK], ids=["dialler sends", "listener sends"])
async def test_tensors_and_acknowledgements_arrive_whole_and_in_order(spec: LinkSpec) -> None:
    async with linked(spec) as pair:
        sent = [frame(number, rows) for number, rows in enumerate((1, 64, 65, 1, 1024, 4096, 1))]
        released: list[int] = []
        for number, (header, payload) in enumerate(sent):
            pair.out.send(header, payload, lambda number=number: released.append(number))
        ack = Ack(sent[0][0].key, sent[0][0].root, b"s" * 64)
        pair.out.send_ack(ack)
        await pair.sink.until(frames=7, acks=1)
        assert pair.sink.frames == [(header, bytes(payload)) for header, payload in sent]
        assert pair.sink.acks == [ack]
        assert released == list(range(7))
        assert pair.out.bytes_sent == pair.into.bytes_received
        assert pair.out.counters["frames_sent"] == pair.into.counters["frames_received"] == 7
        total = sum(payload.nbytes for _, payload in sent)
        assert pair.into.counters["payload_bytes_received"] == total
        assert pair.out.counters["payload_bytes_sent"] == total


@net
async def test_a_closed_link_delivers_everything_and_its_farewell_first() -> None:
    async with linked() as pair:
        for number in range(20):
            pair.out.send(*frame(number))
        await pair.out.close("paused by its owner")
        await pair.into.lost.wait()
        assert [header.key.micro_batch for header, _ in pair.sink.frames] == list(range(20))
        assert pair.out.reason is None
        assert pair.into.farewell == "paused by its owner"
        with pytest.raises(PeerLost, match="closed"):
            pair.out.send(*frame(0))


@net
@pytest.mark.parametrize("codec", CODECS)
async def test_a_tensor_of_several_tiles_is_checked_in_its_own_codec(codec: str) -> None:
    shape = (3, 70, 96)
    size = payload_bytes(codec, shape)
    payload = memoryview(random.Random(codec).randbytes(size))
    key = FrameKey(RUN, 1, 0, 0, 4, 0)
    async with linked() as pair:
        pair.out.send(
            FrameHeader(1, key, 1, 0, codec, "float32", shape, tile_root(payload, shape, "float32", codec)), payload
        )
        await pair.sink.until(frames=1)
        assert pair.sink.frames[0][1] == payload


@net
async def test_a_receiver_that_holds_back_loses_nothing_and_keeps_the_order() -> None:
    room = 2 * frame(0)[0].payload_bytes
    async with linked(sink=Sink(slots=HeapSlots(room), keep=True)) as pair:
        for number in range(40):
            pair.out.send(*frame(number))
        await pair.sink.until(frames=2)
        await trio.testing.wait_all_tasks_blocked(0.02)
        assert len(pair.sink.frames) == 2
        for number in range(40):
            await pair.sink.until(frames=number + 1)
            pair.sink.slots.release(pair.sink.held[number])
        assert [header.key.micro_batch for header, _ in pair.sink.frames] == list(range(40))


@net
async def test_a_tensor_the_receiver_has_no_use_for_is_skipped_and_the_link_goes_on() -> None:
    async with linked(sink=Sink(skip=True)) as pair:
        pair.out.send(*frame(1, rows=500))
        pair.out.send_ack(Ack(frame(1)[0].key, bytes(32)))
        await pair.sink.until(acks=1)
        pair.sink.skip = False
        pair.out.send(*frame(2))
        await pair.sink.until(frames=1)
        assert pair.into.counters["frames_skipped"] == 1
        assert pair.sink.frames[0][0].key.micro_batch == 2


@net
async def test_a_sender_with_nothing_to_send_pings() -> None:
    async with listening() as listener, trio.open_nursery() as nursery:
        sending, taking = await connect(listener)
        out = OutgoingLink(sending, limits=LinkLimits(ping_every=0.01))
        await nursery.start(out.run)
        taking.begin(10)
        ping = encode_header(Ping())
        assert await trio.to_thread.run_sync(WireReader(taking.tls).read, 2 * len(ping)) == ping * 2
        taking.close()
        await out.lost.wait()


@net
async def test_a_patient_acknowledgement_goes_with_the_next_tensor() -> None:
    async with linked() as pair:
        header, payload = frame(1)
        pair.out.send_ack(Ack(header.key, header.root), patient=True)
        assert pair.out.bytes_sent == 0
        pair.out.send(header, payload)
        await pair.sink.until(frames=1, acks=1)


@net
async def test_patient_acknowledgements_go_when_they_are_many_or_with_a_ping() -> None:
    async with linked() as pair:
        for number in range(8):
            pair.out.send_ack(Ack(frame(number)[0].key, bytes(32)), patient=True)
        await pair.sink.until(acks=8)
    async with linked(out_limits=LinkLimits(ping_every=0.01)) as pair:
        pair.out.send_ack(Ack(frame(0)[0].key, bytes(32)), patient=True)
        await pair.sink.until(acks=1)


@net
async def test_a_direct_link_calls_back_in_its_own_threads_and_takes_tensors_from_any() -> None:
    called: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    class Direct(Sink):
        def frame(self, header: FrameHeader, slot: HeapSlot) -> None:
            called.put(("frame", threading.current_thread().name))

        def ack(self, ack: Ack) -> None:
            called.put(("ack", threading.current_thread().name))

    def use(out: OutgoingLink) -> set[tuple[str, str]]:
        header, payload = frame(1)
        out.send(header, payload, lambda: called.put(("done", threading.current_thread().name)))
        out.send_ack(Ack(header.key, header.root))
        return {called.get(timeout=10) for _ in range(3)}

    async with listening() as listener, trio.open_nursery() as nursery:
        sending, receiving = await connect(listener)
        out = OutgoingLink(sending, direct=True)
        into = IncomingLink(receiving, Direct(), payload_limit=LIMIT, direct=True)
        await nursery.start(out.run)
        await nursery.start(into.run)
        names = await trio.to_thread.run_sync(use, out)
        assert names == {("frame", "swarmd-link-in"), ("ack", "swarmd-link-in"), ("done", "swarmd-link-out")}
        nursery.cancel_scope.cancel()


@net
async def test_done_means_that_the_memory_is_free_again() -> None:
    async with linked() as pair:
        for size in (1, 64, 4096):
            header, plain = frame(1, rows=size)
            payload, done = bytearray(plain), trio.Event()

            def release(payload: bytearray = payload, done: trio.Event = done) -> None:
                payload.clear()  # raises BufferError while anything still looks at it
                done.set()

            pair.out.send(header, memoryview(payload), release)
            await done.wait()


@net
async def test_a_refused_tensor_s_slot_is_free_again_when_the_link_is_lost() -> None:
    slots: list[bytearray] = []

    class Mapped(Sink):
        def allocate(self, header: FrameHeader) -> HeapSlot:
            slots.append(bytearray(header.payload_bytes))
            return HeapSlot(memoryview(slots[-1]))

        def discard(self, slot: HeapSlot) -> None:
            slot.view.release()

    async with receiving(Mapped()) as (into, sending):
        header, payload = frame(1)
        sending.tls.sendall(encode_header(header) + bytes(payload[:-1]) + b"!")
        await into.lost.wait()
        slots[0].clear()  # raises BufferError while anything still looks at it


# Who gets in.


@net
async def test_the_ticket_stays_secret_when_another_certificate_answers() -> None:
    async with listening() as listener:
        ticket = listener.issue_ticket(SPEC)
        with pytest.raises(ProtocolViolation, match="another certificate"):
            await dial_link(HOST, replace(ticket, certificate_sha256=bytes(32)), SPEC)
        dialled = await dial_link(HOST, ticket, SPEC)
        (await listener.accept(ticket)).close()
        dialled.close()


@net
async def test_a_ticket_nobody_issued_is_refused_and_counted() -> None:
    async with listening() as listener:
        ticket = listener.issue_ticket(SPEC)
        with pytest.raises(Refused, match="did not take our ticket"):
            await dial_link(HOST, replace(ticket, ticket=os.urandom(32)), SPEC)
        assert listener.counters["tickets_refused"] == 1


@net
async def test_a_ticket_is_good_once() -> None:
    async with listening() as listener:
        ticket, _other = listener.issue_ticket(SPEC), listener.issue_ticket(SPEC)
        dialled = await dial_link(HOST, ticket, SPEC)
        with pytest.raises(Refused):
            await dial_link(HOST, ticket, SPEC)
        (await listener.accept(ticket)).close()
        dialled.close()
        with pytest.raises(Refused):
            await dial_link(HOST, ticket, SPEC)


@net
async def test_an_expired_ticket_opens_nothing() -> None:
    async with listening(DoorLimits(ticket_seconds=0)) as listener:
        ticket = listener.issue_ticket(SPEC)
        with pytest.raises(RemoteError):
            await dial_link(HOST, ticket, SPEC)
        with pytest.raises(TimedOut, match="did not open"):
            await listener.accept(ticket)


@net
async def test_a_connection_nobody_accepts_is_closed_when_its_ticket_expires() -> None:
    async with listening(DoorLimits(ticket_seconds=0.2)) as listener:
        dialled = await dial_link(HOST, listener.issue_ticket(SPEC), SPEC)
        dialled.begin(10)
        with pytest.raises(PeerLost):
            await trio.to_thread.run_sync(WireReader(dialled.tls).read, 1)
        dialled.close()
        assert listener.counters["links_unclaimed"] == 1


@net
async def test_nobody_answers_there() -> None:
    async with listening() as listener:
        ticket = listener.issue_ticket(SPEC)
    with pytest.raises(PeerLost, match="no tensor link"):
        await dial_link(HOST, ticket, SPEC)


async def test_a_listener_that_does_not_serve_issues_nothing() -> None:
    with pytest.raises(StateError, match="not open"):
        TensorListener(HOST).issue_ticket(SPEC)


@net
async def test_a_taken_port_is_an_error_with_a_hint() -> None:
    async with listening() as listener:
        port = listener.issue_ticket(SPEC).port
        with pytest.raises(StateError, match=f"port {port}"):
            await TensorListener(HOST, port).serve()


@net
async def test_a_silent_stranger_is_closed_at_the_deadline() -> None:
    async with listening(DoorLimits(greeting_seconds=0.05)) as listener:
        stranger = await trio.open_tcp_stream(HOST, listener.issue_ticket(SPEC).port)
        assert await stranger.receive_some() == b""
        await stranger.aclose()
        assert listener.counters["greeting_timeouts"] == 1


@net
async def test_strangers_are_turned_away_without_tls_while_no_ticket_is_out() -> None:
    async with listening() as listener:
        ticket = listener.issue_ticket(SPEC)
        dialled = await dial_link(HOST, ticket, SPEC)
        (await listener.accept(ticket)).close()
        dialled.close()
        stranger = await trio.open_tcp_stream(HOST, ticket.port)
        assert await stranger.receive_some() == b""
        await stranger.aclose()
        assert listener.counters["garbage"] == 1


@net
@pytest.mark.slow
async def test_two_hundred_strangers_do_not_keep_an_honest_peer_out() -> None:
    async with listening() as listener:
        ticket = listener.issue_ticket(SPEC)
        strangers = [await trio.open_tcp_stream(HOST, ticket.port) for _ in range(200)]
        for stranger in strangers[::2]:
            with suppress(trio.BrokenResourceError):
                await stranger.send_all(os.urandom(300))
        sending = await dial_link(HOST, ticket, SPEC)
        sink = Sink()
        into = IncomingLink(await listener.accept(ticket), sink, payload_limit=LIMIT)
        out = OutgoingLink(sending)
        async with trio.open_nursery() as nursery:
            await nursery.start(into.run)
            await nursery.start(out.run)
            out.send(*frame(7))
            await sink.until(frames=1)
            nursery.cancel_scope.cancel()
        for stranger in strangers:
            await stranger.aclose()
        assert listener.counters["half_open_evicted"] >= 100
        assert not listener.counters["errors"]
        assert not link_threads()


async def test_the_oldest_half_open_connection_of_a_full_address_gives_way() -> None:
    door = HalfOpen(total=10, per_address=2)
    places = [door.admit(f"10.0.0.{last}") for last in (1, 2, 1, 1)]
    with places[0] as first, places[1] as other, places[2] as second, places[3] as third:
        assert first.cancel_called
        assert not any(scope.cancel_called for scope in (other, second, third))
        assert len(door) == 3


async def test_a_full_door_takes_from_the_address_that_holds_most() -> None:
    door = HalfOpen(total=3, per_address=3)
    places = [door.admit(f"10.0.0.{last}") for last in (1, 2, 2, 3)]
    with places[0] as alone, places[1] as crowd, places[2], places[3]:
        assert crowd.cancel_called
        assert not alone.cancel_called
        assert door.evicted == 1


async def test_one_ipv6_network_counts_as_one_address() -> None:
    door = HalfOpen(total=10, per_address=1)
    with door.admit("2001:db8::1") as first, door.admit("2001:db8::2"), door.admit("2001:db8:0:1::1"):
        assert first.cancel_called
        assert door.evicted == 1


def test_tickets_are_bounded_per_peer_and_in_all_until_they_expire() -> None:
    now = [0.0]
    book = TicketBook(lifetime=30, limit=3, per_peer=2, clock=lambda: now[0])
    other = replace(SPEC, peer=PeerId("other"))
    first = book.issue(SPEC)
    book.issue(SPEC)
    with pytest.raises(Refused):
        book.issue(SPEC)
    book.issue(other)
    with pytest.raises(Refused):
        book.issue(replace(SPEC, peer=PeerId("third")))
    now[0] = 30.0
    assert book.redeem(first.secret) is None
    assert book.outstanding == 0
    book.issue(SPEC)


def test_a_ticket_carries_its_link_and_is_spent_by_showing_it() -> None:
    book = TicketBook(clock=lambda: 0.0)
    offer = book.issue(BACK)
    found = book.redeem(offer.secret)
    assert found is not None
    assert found.link == BACK
    assert book.redeem(offer.secret) is None


def test_no_secret_shows_in_a_log_line() -> None:
    offer = TicketBook(clock=lambda: 0.0).issue(SPEC)
    assert offer.secret.hex() not in repr(offer)
    assert repr(offer.secret) not in repr(offer)


# What is refused.


@net
@pytest.mark.parametrize("cut", [4, PREFIX_BYTES, 60, 5000])
async def test_a_truncated_message_is_a_loss_and_never_a_tensor(cut: int) -> None:
    sink = Sink()
    async with receiving(sink) as (into, sending):
        header, payload = frame(1)
        sending.tls.sendall((encode_header(header) + payload)[:cut])
        sending.close()
        await into.lost.wait()
        assert isinstance(into.reason, PeerLost)
        assert into.farewell is None
        assert not sink.frames
        assert sink.discarded == (cut == 5000)


@net
async def test_a_tensor_with_another_root_is_refused_and_counted() -> None:
    sink = Sink()
    async with receiving(sink) as (into, sending):
        header, payload = frame(1)
        sending.tls.sendall(encode_header(header) + bytes(payload[:-1]) + b"!")
        await into.lost.wait()
        assert isinstance(into.reason, ProtocolViolation)
        assert not sink.frames
        assert sink.discarded == 1
        assert into.counters["bad_roots"] == into.counters["links_violated"] == 1


@net
@pytest.mark.parametrize(
    "raw",
    [
        bytes([1, 0]) + (1025).to_bytes(2, "big") + bytes(4),
        bytes([1, 0]) + (100).to_bytes(2, "big") + (LIMIT + 1).to_bytes(4, "big"),
        bytes(8),
        encode_header(frame(1)[0]).replace(b"float32", b"float99"),
    ],
    ids=["header", "payload", "version", "dtype"],
)
async def test_what_the_format_forbids_ends_the_link_before_anything_is_allocated(raw: bytes) -> None:
    sink = Sink()
    async with receiving(sink) as (into, sending):
        sending.tls.sendall(raw)
        await into.lost.wait()
        assert isinstance(into.reason, ProtocolViolation)
        assert not sink.discarded


@net
async def test_more_frames_than_the_queue_holds_are_refused() -> None:
    sink = Sink(slots=HeapSlots(1 << 20), keep=True)
    async with linked(sink=sink, out_limits=LinkLimits(queued_frames=8)) as pair:
        header, payload = frame(1, rows=1024)
        for _ in range(8):
            pair.out.send(header, payload)
        with pytest.raises(Refused, match="8 frames queued"):
            pair.out.send(header, payload)
        pair.out.send_ack(Ack(header.key, header.root))


@net
async def test_a_payload_of_another_size_than_its_header_is_our_own_mistake() -> None:
    async with linked() as pair:
        header, payload = frame(1)
        with pytest.raises(ValueError, match="bytes for a header"):
            pair.out.send(header, payload[:-4])


# How links end.


def reset(connection: Connection) -> None:
    """End a connection as the kernel does for a process killed with unread data."""
    connection.tls.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@net
@pytest.mark.parametrize("end", [reset, Connection.close], ids=["reset", "closed"])
@pytest.mark.parametrize("spec", [SPEC, BACK], ids=["dialler sends", "listener sends"])
async def test_an_idle_sender_learns_at_once_that_its_peer_is_gone(spec: LinkSpec, end: object) -> None:
    async with listening() as listener, trio.open_nursery() as nursery:
        sending, taking = await connect(listener, spec)
        out = OutgoingLink(sending)
        await nursery.start(out.run)
        assert callable(end)
        end(taking)
        with trio.fail_after(30):
            await out.lost.wait()
        assert isinstance(out.reason, PeerLost)


@net
@pytest.mark.parametrize("end", [reset, Connection.close], ids=["reset", "closed"])
async def test_a_receiver_learns_at_once_that_its_peer_is_gone(end: object) -> None:
    async with receiving(Sink()) as (into, sending):
        assert callable(end)
        end(sending)
        with trio.fail_after(30):
            await into.lost.wait()
        assert isinstance(into.reason, PeerLost)


@net
async def test_a_sender_stuck_in_a_write_learns_that_its_peer_is_gone_and_gives_all_memory_back() -> None:
    async with listening() as listener, trio.open_nursery() as nursery:
        sending, taking = await connect(listener)
        out = OutgoingLink(sending)
        await nursery.start(out.run)
        header, plain = frame(1, rows=16384)
        payloads = [bytearray(plain) for _ in range(5)]
        released: list[int] = []
        for number, payload in enumerate(payloads):
            out.send(header, memoryview(payload), lambda number=number: released.append(number))
        taking.begin(10)
        await trio.to_thread.run_sync(WireReader(taking.tls).read, 1 << 20)
        taking.close()
        await out.lost.wait()
        assert isinstance(out.reason, PeerLost)
        assert released == list(range(5))
        with pytest.raises(PeerLost):
            out.send(header, plain)
        for payload in payloads:
            payload.clear()  # raises BufferError while anything still looks at it


@net
async def test_a_silent_sender_is_taken_for_lost() -> None:
    async with linked(in_limits=LinkLimits(silence=0.05)) as pair:
        await pair.into.lost.wait()
        assert pair.into.reason is not None
        assert "silent" in pair.into.reason.message


@net
async def test_a_receiver_that_never_takes_bytes_is_taken_for_lost() -> None:
    async with listening() as listener, trio.open_nursery() as nursery:
        sending, taking = await connect(listener)
        out = OutgoingLink(sending, limits=LinkLimits(stall=0.1))
        await nursery.start(out.run)
        out.send(*frame(1, rows=32768))
        await out.lost.wait()
        taking.close()
        assert isinstance(out.reason, PeerLost)


@net
async def test_cancelling_ends_links_and_threads_whatever_they_wait_for() -> None:
    sink = Sink(slots=HeapSlots(1 << 20), keep=True)
    async with linked(sink=sink) as pair:
        for number in range(20):
            pair.out.send(*frame(number, rows=1024))
        await sink.until(frames=1)
        assert len(link_threads()) == 2
    assert not link_threads()
    assert pair.out.lost.is_set()
    assert pair.into.lost.is_set()
    assert pair.into.reason is None


@net
async def test_closing_a_link_whose_peer_takes_nothing_is_bounded() -> None:
    async with listening() as listener, trio.open_nursery() as nursery:
        sending, taking = await connect(listener)
        out = OutgoingLink(sending, limits=LinkLimits(farewell=0.05))
        await nursery.start(out.run)
        out.send(*frame(1, rows=32768))
        await out.close()
        assert out.lost.is_set()
        taking.close()


@net
async def test_closing_a_link_that_never_ran_closes_its_connection() -> None:
    async with listening() as listener:
        sending, taking = await connect(listener)
        out = OutgoingLink(sending)
        released: list[bool] = []
        out.send(*frame(1), lambda: released.append(True))
        await out.close()
        assert released == [True]
        taking.close()


@net
async def test_a_mistake_in_the_sink_ends_run_and_not_the_program() -> None:
    class Broken(Sink):
        def frame(self, header: FrameHeader, slot: HeapSlot) -> None:
            raise KeyError("no such stage")

    with pytest.RaisesGroup(pytest.RaisesExc(KeyError), flatten_subgroups=True):
        async with linked(sink=Broken()) as pair:
            pair.out.send(*frame(1))
            await trio.sleep_forever()


@net
async def test_each_end_refuses_the_other_s_role() -> None:
    async with listening() as listener:
        sending, taking = await connect(listener)
        with pytest.raises(ValueError, match="receives"):
            OutgoingLink(taking)
        with pytest.raises(ValueError, match="sends"):
            IncomingLink(sending, Sink(), payload_limit=LIMIT)
        sending.close()
        taking.close()


@net
async def test_an_interrupted_connection_never_falls_back_to_plain_text() -> None:
    async with listening() as listener:
        sending, taking = await connect(listener)
        sending.begin(10)
        sending.interrupt()
        with pytest.raises(OSError, match=r"."):
            sending.tls.send(b"a secret")
        assert sending.tls.version() == "TLSv1.3"
        sending.close()
        taking.close()


# The parts.


def test_plain_slots_refuse_what_would_never_fit() -> None:
    assert HeapSlots(10).allocate(11) is None


def test_interrupted_plain_slots_stay_so() -> None:
    slots = HeapSlots(10)
    slots.interrupt()
    assert slots.allocate(1) is None
