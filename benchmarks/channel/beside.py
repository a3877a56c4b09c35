"""Messages of 100 kB between two processes, alone and beside a bulk transfer from the same sender.

Within a lab (``benchmarks.netlab``) the two are its hosts 0 and 1.
"""

from __future__ import annotations

import tempfile
import time
from contextlib import suppress
from statistics import quantiles
from typing import Any

import trio

from benchmarks.channel.links import BACK, FORTH, Ends, dial_ticket, make_header, ticket_words
from benchmarks.channel.processes import HOST, say
from swarmd.net.tensorlink import Connection, TensorListener, Throttle, dial_link, receive_bulk, send_bulk
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.tensors import Ack, FrameHeader

MESSAGE = 102_400
ALONE = 400
_WARM_UP = 50
_GAP = 0.002
_UNDER_WAY = 0.2
"""Seconds until the bulk has its pace."""


async def receive(total: int) -> None:
    """Acknowledge every message, and take the bulk."""
    listener = TensorListener("0.0.0.0")

    def on_frame(header: FrameHeader) -> None:
        ends.out.send_ack(Ack(header.key, header.root))

    async with trio.open_nursery() as nursery:
        await nursery.start(listener.serve)
        tickets = [listener.issue_ticket(spec) for spec in (FORTH, BACK, FORTH)]
        say(tickets=[ticket_words(each) for each in tickets])
        into, out, bulk = [await listener.accept(each) for each in tickets]
        ends = Ends(out, into, MESSAGE, True, on_frame)
        await ends.start(nursery)
        nursery.start_soon(_take, bulk, total)
        await ends.into.lost.wait()
        nursery.cancel_scope.cancel()
    say(cpu=0.0)


async def send(total: int, offer: dict[str, Any], mbit: float) -> None:
    """Time messages alone, then while the bulk is under way."""
    throttle = Throttle(mbit) if mbit else None
    async with trio.open_nursery() as nursery:
        forth, back, bulk = map(dial_ticket, offer["tickets"])
        out, into = await dial_link(HOST, forth, FORTH), await dial_link(HOST, back, BACK)
        connection = await dial_link(HOST, bulk, FORTH)
        ends = Ends(out, into, MESSAGE, True, lambda header: None, throttle)
        await ends.start(nursery)
        await _messages(ends, _WARM_UP)
        alone = await _messages(ends, ALONE)
        with tempfile.TemporaryFile() as file:
            file.truncate(total)
            over = trio.Event()
            begun = time.perf_counter()

            async def carry() -> None:
                await send_bulk(connection, file, total, throttle)
                over.set()

            nursery.start_soon(carry)
            await trio.sleep(_UNDER_WAY)
            beside = await _messages(ends, ALONE * 10, over)
            say(alone=summary(alone), beside=summary(beside), whole=over.is_set(), seconds=time.perf_counter() - begun)
            nursery.cancel_scope.cancel()


def summary(times: list[float]) -> dict[str, float]:
    """Milliseconds."""
    cuts = quantiles(times, n=100)
    return {"messages": len(times), "p50_ms": round(cuts[49] * 1e3, 3), "p99_ms": round(cuts[98] * 1e3, 3)}


async def _messages(ends: Ends, count: int, until: trio.Event | None = None) -> list[float]:
    payload = memoryview(bytes(MESSAGE))
    header = make_header(bytes(MESSAGE), 0, root=True)
    times: list[float] = []
    deadline = time.perf_counter() + 10.0
    while len(times) < count and (until is None or not until.is_set()) and time.perf_counter() < deadline:
        begun, acks = time.perf_counter(), ends.acks
        ends.out.send(header, payload)
        while ends.acks == acks:
            await ends.came.wait()
        times.append(time.perf_counter() - begun)
        await trio.sleep(_GAP)
    return times


async def _take(connection: Connection, total: int) -> None:
    with suppress(PeerLost):  # the sender ends when it has seen enough
        await receive_bulk(connection, total, lambda piece: None)
