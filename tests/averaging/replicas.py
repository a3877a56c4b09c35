"""Sessions of several members in one process: the network in memory, tensor links on loopback."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import numpy as np
import trio

from swarmd.averaging import Averaged, AveragingDesk, RoundFailed, Session, average, open_session
from swarmd.net.memory import MemoryNetwork
from swarmd.net.tensorlink import TensorListener
from swarmd.protocols.averaging import RoundPlan, Seat
from swarmd.protocols.ids import RunId
from swarmd.scheduler.averaging_actions import Patience

RUN = RunId("cd" * 32)
PATIENCE = Patience(ready=3, gather=3, deliver=6, confirm=2, whole=20)


@asynccontextmanager
async def sessions(count: int) -> AsyncIterator[list[Session]]:
    """Connected sessions, in the order of their peer ids."""
    network = MemoryNetwork(seed=1)
    async with trio.open_nursery() as nursery:
        desks: list[AveragingDesk] = []
        for number in range(count):
            transport = await nursery.start(network_node, network, bytes([number + 1] * 32))
            listener = TensorListener("127.0.0.1")
            await nursery.start(listener.serve)
            desks.append(AveragingDesk(transport, listener))
        members = {desk.transport.peer_id: (*desk.transport.addresses(), "/ip4/127.0.0.1") for desk in desks}
        opened: list[Session] = []

        async def one(desk: AveragingDesk) -> None:
            opened.append(await open_session(desk, RUN, members, nursery))

        async with trio.open_nursery() as opening:
            for desk in desks:
                opening.start_soon(one, desk)
        yield sorted(opened, key=lambda session: session.me)
        nursery.cancel_scope.cancel()


async def network_node(network: MemoryNetwork, seed: bytes, task_status: trio.TaskStatus) -> None:
    async with network.node(seed) as (transport, _):
        task_status.started(transport)
        await trio.sleep_forever()


def plan_of(members: list[Session], values: int, codec: str = "float32", number: int = 0) -> RoundPlan:
    seats = tuple(Seat(session.me, 1, 1) for session in members)
    return RoundPlan(RUN, 1, number, codec, values, seats)


async def round_of(
    members: list[Session], plan: RoundPlan, vectors: list[np.ndarray]
) -> dict[int, Averaged | RoundFailed]:
    """What each got."""
    got: dict[int, Averaged | RoundFailed] = {}

    async def one(place: int) -> None:
        try:
            got[place] = await average(members[place], plan, vectors[place], PATIENCE)
        except RoundFailed as error:
            got[place] = error

    with suppress(trio.Cancelled):
        async with trio.open_nursery() as nursery:
            for place in range(len(vectors)):
                nursery.start_soon(one, place)
    return got
