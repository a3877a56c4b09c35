"""One replica: averages when its parent says so. One JSON value a line on stdin and stdout."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from typing import Any

import numpy as np
import trio

from swarmd.averaging import Averaged, RoundFailed, Session, average
from swarmd.net.tensorlink import Flow, LinkSpec, TensorListener, Ticket, dial_link
from swarmd.protocols.averaging import RoundPlan, Seat
from swarmd.protocols.ids import PeerId, RunId
from swarmd.scheduler.averaging_actions import Patience

RUN = RunId("ab" * 32)
PATIENCE = Patience(ready=20, gather=30, deliver=60, confirm=5, whole=120)


def say(**report: object) -> None:
    """One line to the parent."""
    print(json.dumps(report), flush=True)


async def hear() -> dict[str, Any]:
    """One line from the parent."""
    line = await trio.to_thread.run_sync(sys.stdin.readline)
    if not line:
        raise SystemExit
    return json.loads(line)  # type: ignore[no-any-return]


def vector_of(number: int, place: int, values: int) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A member's values in a round: every process can say what every other holds."""
    return np.random.default_rng((number, place)).standard_normal(values, dtype=np.float32)


async def connect(session: Session, listener: TensorListener, me: int, count: int) -> None:
    """A link each way to all others; tickets go through the parent's pipes."""
    others = [place for place in range(count) if place != me]
    peers = {place: PeerId(f"peer{place:02}") for place in others}
    tickets = {place: listener.issue_ticket(LinkSpec(peers[place], RUN, Flow.TO_LISTENER)) for place in others}
    say(tickets={place: (t.ticket.hex(), t.certificate_sha256.hex(), t.port) for place, t in tickets.items()})
    given = (await hear())["tickets"]

    async def take(place: int) -> None:
        session.add(peers[place], await listener.accept(tickets[place]))

    async def dial(place: int) -> None:
        secret, digest, port = given[str(place)]
        ticket = Ticket(bytes.fromhex(secret), bytes.fromhex(digest), port)
        connection = await dial_link("127.0.0.1", ticket, LinkSpec(peers[place], RUN, Flow.TO_LISTENER))
        session.add(peers[place], connection)

    async with trio.open_nursery() as nursery:
        for place in others:
            nursery.start_soon(take, place)
            nursery.start_soon(dial, place)
    say(ready=True)


def judge(averaged: Averaged, number: int, count: int, values: int) -> dict[str, object]:
    """The largest error against the float64 mean over those that each slice says are in it."""
    vectors = [vector_of(number, place, values) for place in range(count)]
    error = 0.0
    for part in averaged.report.slices:
        cut = slice(part.first, part.end)
        held = [vectors[int(peer[4:])][cut].astype(np.float64) for peer in part.contributors]
        error = max(error, float(np.abs(averaged.values[cut] - np.mean(held, axis=0)).max()))
    report = averaged.report
    return {
        "error": error,
        "digest": hashlib.sha256(averaged.values.tobytes()).hexdigest(),
        "complete": report.complete,
        "missing": report.missing,
        "fraction": report.fraction,
        "contributed": report.contributed,
        "seconds": report.seconds,
        "sent": report.bytes_sent,
    }


async def main(me: int, count: int, values: int, codec: str) -> None:
    """Rounds until stdin ends."""
    seats = tuple(Seat(PeerId(f"peer{place:02}"), 1, 1) for place in range(count))
    async with trio.open_nursery() as nursery:
        listener = TensorListener("127.0.0.1")
        await nursery.start(listener.serve)
        session = Session(seats[me].peer, RUN, nursery)
        await connect(session, listener, me, count)
        while True:
            number = (await hear())["round"]
            vector = vector_of(number, me, values)
            say(prepared=number)
            await hear()
            begun, cpu = time.perf_counter(), time.process_time()
            try:
                averaged = await average(session, RoundPlan(RUN, 1, number, codec, values, seats), vector, PATIENCE)
            except RoundFailed as error:
                say(done=number, failed=error.message)
                continue
            say(done=number, wall=time.perf_counter() - begun, cpu=time.process_time() - cpu)
            say(**judge(averaged, number, count, values))


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
