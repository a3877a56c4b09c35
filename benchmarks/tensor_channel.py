"""Tensor links beside bare sockets: two processes on loopback, interleaved rounds.

    python benchmarks/tensor_channel.py [--mib 256] [--rounds 3]

Modes: ``raw`` is one blocking socket and two threads, without TLS, headers or trio, the most the machine
gives; ``link`` is a tensor link with an acknowledgement per frame on the link back; ``link+roots`` also
hashes every frame at both ends. MB/s depend on the machine: quote only ratios within one run.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import trio

from swarmd.net.tensorlink import (
    Connection,
    Flow,
    HeapSlot,
    IncomingLink,
    LinkSpec,
    OutgoingLink,
    TensorListener,
    Ticket,
    dial_link,
)
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.tensors import Ack, FrameHeader, FrameKey, tile_root

HOST = "127.0.0.1"
RUN = RunId("ab" * 32)
FORTH, BACK = (LinkSpec(PeerId("bench"), RUN, flow) for flow in Flow)
SIZES = (64 << 10, 1 << 20, 16 << 20)
MODES = ("raw", "link", "link+roots")
PING_BYTES, PINGS = 64 << 10, 1000
Report = dict[str, Any]


def cpu_seconds() -> float:
    """User and system time of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


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
    """A float32 tensor of rows of 1024 numbers."""
    shape = (len(payload) // 4096, 1024)
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
    ) -> None:
        self.acks = 0
        self.came = trio.Event()
        self.out = OutgoingLink(out)
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


# The receiving process: prints its tickets, then its processor time after each transfer.


def say(**report: object) -> None:
    """One line to the other process."""
    print(json.dumps(report), flush=True)


async def receive_link(size: int, frames: int, roots: bool, echo: bool) -> None:
    """Acknowledge (or send back) every frame."""
    listener = TensorListener(HOST)
    payload = memoryview(bytes(size))
    left = frames

    def on_frame(header: FrameHeader) -> None:
        nonlocal left
        left -= 1
        if echo:
            ends.out.send(header, payload)
        else:
            ends.out.send_ack(Ack(header.key, header.root))
        if left == 0:
            say(cpu=cpu_seconds() - begun)

    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        tickets = [listener.issue_ticket(spec) for spec in (FORTH, BACK)]
        say(tickets=[(t.ticket.hex(), t.certificate_sha256.hex(), t.port) for t in tickets])
        into, out = [await listener.accept(ticket) for ticket in tickets]
        begun = cpu_seconds()
        ends = Ends(out, into, size, roots, on_frame)
        await ends.start(nursery)
        await ends.into.lost.wait()
        nursery.cancel_scope.cancel()


def receive_raw(size: int, frames: int, echo: bool) -> None:
    """Take every frame into one buffer; answer the last (or every) one."""
    with socket.create_server((HOST, 0)) as server:
        say(port=server.getsockname()[1])
        with server.accept()[0] as taken:
            taken.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            begun, view = cpu_seconds(), memoryview(bytearray(size))
            for _ in range(frames):
                fill(taken, view)
                if echo:
                    taken.sendall(view)
            say(cpu=cpu_seconds() - begun)
            taken.sendall(b"!")


def fill(taken: socket.socket, view: memoryview) -> None:
    """Read a whole view."""
    at = 0
    while at < len(view):
        at += taken.recv_into(view[at:])


# The sending process.


def spawn(mode: str, size: int, frames: int, *, echo: bool = False) -> subprocess.Popen[str]:
    """The other process."""
    role = ["--receive", json.dumps([mode, size, frames, echo])]
    return subprocess.Popen([sys.executable, __file__, *role], stdout=subprocess.PIPE, text=True)


def hear(child: subprocess.Popen[str]) -> Report:
    """One line from the other process."""
    assert child.stdout is not None
    report: Report = json.loads(child.stdout.readline())
    return report


def raw_link(child: subprocess.Popen[str]) -> socket.socket:
    """A bare socket to the other process."""
    link = socket.create_connection((HOST, hear(child)["port"]))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


def send_raw(size: int, frames: int) -> Report:
    """The bare socket's figures."""
    with spawn("raw", size, frames) as child, raw_link(child) as link:
        payload = os.urandom(size)
        begun, cpu = time.perf_counter(), cpu_seconds()
        for _ in range(frames):
            link.sendall(payload)
        link.recv(1)
        return figures(size * frames, time.perf_counter() - begun, cpu_seconds() - cpu, hear(child)["cpu"])


async def send_link(size: int, frames: int, roots: bool) -> Report:
    """A link's figures, from the first frame to the last acknowledgement."""
    mode = "link+roots" if roots else "link"
    with spawn(mode, size, frames) as child:
        async with trio.open_nursery() as nursery:
            ends = await dial_both(nursery, hear(child), size, roots, lambda header: None)
            payload, unsent = os.urandom(size), 0

            def done() -> None:
                nonlocal unsent
                unsent -= 1
                ends.wake()

            begun, cpu = time.perf_counter(), cpu_seconds()
            for number in range(frames):
                while unsent >= 16:
                    await ends.came.wait()
                unsent += 1
                ends.out.send(make_header(payload, number, root=roots), memoryview(payload), done)
            while ends.acks < frames:
                await ends.came.wait()
            seconds, cpu = time.perf_counter() - begun, cpu_seconds() - cpu
            nursery.cancel_scope.cancel()
        return figures(size * frames, seconds, cpu, hear(child)["cpu"])


async def dial_both(
    nursery: trio.Nursery, offer: Report, size: int, roots: bool, on_frame: Callable[[FrameHeader], None]
) -> Ends:
    """A link each way to the other process."""
    tickets = [Ticket(bytes.fromhex(t), bytes.fromhex(c), port) for t, c, port in offer["tickets"]]
    out = await dial_link(HOST, tickets[0], FORTH)
    into = await dial_link(HOST, tickets[1], BACK)
    ends = Ends(out, into, size, roots, on_frame)
    await ends.start(nursery)
    return ends


def figures(count: int, seconds: float, sender: float, receiver: float) -> Report:
    """What one transfer comes to."""
    gigabytes = count / 1e9
    return {"MB/s": count / seconds / 1e6, "send": sender / gigabytes, "receive": receiver / gigabytes}


def ping_raw() -> list[float]:
    """Round trips of a bare socket, in seconds."""
    times = []
    with spawn("raw", PING_BYTES, PINGS, echo=True) as child, raw_link(child) as link:
        view = memoryview(bytearray(PING_BYTES))
        for _ in range(PINGS):
            begun = time.perf_counter()
            link.sendall(view)
            fill(link, view)
            times.append(time.perf_counter() - begun)
        hear(child)
    return times


async def ping_link() -> tuple[list[float], float]:
    """Round trips trio to trio with roots checked, in seconds; then how soon SIGKILL is noticed."""
    times: list[float] = []
    payload = bytes(PING_BYTES)
    header = make_header(payload, 0, root=True)
    with spawn("link+roots", PING_BYTES, PINGS, echo=True) as child:
        async with trio.open_nursery() as nursery:
            ends = await dial_both(nursery, hear(child), PING_BYTES, True, lambda header: ends.wake())
            for _ in range(PINGS):
                begun, came = time.perf_counter(), ends.came
                ends.out.send(header, memoryview(payload))
                await came.wait()
                times.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            child.send_signal(signal.SIGKILL)
            await ends.out.lost.wait()
            await ends.into.lost.wait()
            return times, time.perf_counter() - begun


def transfer(mode: str, size: int, total: int) -> Report:
    """One measurement."""
    if mode == "raw":
        return send_raw(size, total // size)
    return trio.run(send_link, size, total // size, mode == "link+roots")


def compare(total: int, rounds: int) -> None:
    """Print medians over the rounds, and each mode's ratio to ``raw`` of the same round."""
    print(f"{'frame':>9} {'mode':<11} {'MB/s':>6} {'of raw':>7} {'CPU-s/GB send':>14} {'receive':>8}")
    for size in SIZES:
        runs = [{mode: transfer(mode, size, total) for mode in MODES} for _ in range(rounds)]
        for mode in MODES:
            median = {key: statistics.median(run[mode][key] for run in runs) for key in runs[0][mode]}
            ratio = statistics.median(run[mode]["MB/s"] / run["raw"]["MB/s"] for run in runs)
            print(
                f"{size >> 10:>5} KiB {mode:<11} {median['MB/s']:>6.0f} {ratio:>7.2f} "
                f"{median['send']:>14.2f} {median['receive']:>8.2f}"
            )


def latency(rounds: int) -> None:
    """Print 64 KiB round trips and the time to notice a killed peer."""
    for number in range(rounds):
        raw, (link, killed) = ping_raw(), trio.run(ping_link)
        middle = [statistics.median(times) * 1e6 for times in (raw, link)]
        late = [statistics.quantiles(times, n=100)[98] * 1e6 for times in (raw, link)]
        print(
            f"round {number}: 64 KiB round trip p50/p99 us: raw {middle[0]:.0f}/{late[0]:.0f}, "
            f"link {middle[1]:.0f}/{late[1]:.0f} ({middle[1] / middle[0]:.1f} times raw); "
            f"SIGKILL noticed after {killed * 1e3:.1f} ms"
        )


def main() -> None:
    """Either role."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--mib", type=int, default=256, help="MiB in each transfer")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--receive", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.receive is None:
        compare(options.mib << 20, options.rounds)
        latency(options.rounds)
        return
    mode, size, frames, echo = json.loads(options.receive)
    if mode == "raw":
        receive_raw(size, frames, echo)
    else:
        trio.run(receive_link, size, frames, mode == "link+roots", echo)


if __name__ == "__main__":
    main()
