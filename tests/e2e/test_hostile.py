"""A daemon that trains, under attack from a stranger: it stays up, counts, and goes on with its work."""

from __future__ import annotations

import random
import statistics
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio

from swarmd.protocols.advert_messages import ADVERT_PROTOCOL
from swarmd.protocols.ids import BlobHash, PeerId, RunId
from swarmd.protocols.messages import (
    BLOB_PROTOCOL,
    LINK_PROTOCOL,
    SESSION_PROTOCOL,
)
from tests.e2e.daemons import Daemon, daemons, until
from tests.e2e.hostile_messages import KAD, Target
from tests.e2e.hostile_peer import (
    STARTS,
    TLS_HELLO,
    HostilePeer,
    Honest,
    control_lines,
    everywhere,
    garbage_to_control,
    garbage_to_port,
    node,
    ports,
)
from tests.e2e.test_daemons import big_job, training

pytestmark = [pytest.mark.slow, pytest.mark.net]

MOST_GROWTH = 64 << 20
"""Bytes by which the daemon's memory may be larger after the attack than before."""
MOST_HANDLES = 12
"""File descriptors by which it may hold more."""


async def ask(daemon: Daemon, method: str, **params: object):
    return await trio.to_thread.run_sync(partial(daemon.ask, method, **params))


async def attack(peer: HostilePeer, daemon: Daemon, chance: random.Random) -> int:
    """Some ten thousand messages, to every port and every protocol; gives how many."""
    protocols = await peer.protocols()
    known = {SESSION_PROTOCOL, BLOB_PROTOCOL, LINK_PROTOCOL, ADVERT_PROTOCOL, KAD, "/ipfs/id/1.0.0", "/ipfs/ping/1.0.0"}
    assert known <= set(protocols)
    doors = [(port, start) for port in ports(daemon) for start in (*STARTS, TLS_HELLO, b"GET /metrics HTTP/1.1\r\n")]
    for _ in range(8):
        await everywhere(len(protocols) * 50, lambda n: peer.talk(protocols[n % len(protocols)]))
        await everywhere(100, lambda n: garbage_to_port(*doors[n % len(doors)], chance))
        await everywhere(50, lambda n: garbage_to_control(daemon.paths.control, control_lines(chance)))
        await peer.muxer_frames(400)
        await peer.half_open(protocols, 3)
    return peer.sent + 8 * 150


async def test_ten_thousand_hostile_messages_harm_nobody(tmp_path: Path) -> None:
    chance = random.Random(16)
    with daemons(tmp_path) as start:
        daemon = start("one", "--metrics", "127.0.0.1:0")
        run = daemon.ask("submit", path=big_job(tmp_path, 1))["run"]
        until(lambda: training(daemon, run), 60)
        process = psutil.Process(daemon.process.pid)
        target = Target(PeerId(daemon.peer), RunId(run), BlobHash("1" * 64))
        async with node(1) as (_, *theirs), node(2) as (identity, transport, _):
            honest = Honest(daemon, *theirs)
            await honest.join()
            peer = HostilePeer(transport, identity, target, daemon.addresses[0].partition("/p2p/")[0], chance)
            await everywhere(100, lambda _: peer.talk(KAD))
            before, files = process.memory_info().rss, process.num_fds()
            counted, step = (await ask(daemon, "status"))["counters"], (await ask(daemon, "job", run=run))["step"]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(honest.keep_looking)
                assert await attack(peer, daemon, chance) >= 5_000
                nursery.cancel_scope.cancel()
            status = await ask(daemon, "status")
            print(status["counters"], statistics.median(honest.seconds), max(honest.seconds), peer.sent, process.memory_info().rss-before, process.num_fds()-files)
            assert status["pid"] == daemon.process.pid
            assert status["hosting"] == [run]
            assert training(daemon, run)["step"] > step
            assert process.memory_info().rss - before < MOST_GROWTH
            await transport.disconnect(target.peer)
            with trio.fail_after(20):
                while process.num_fds() - files > MOST_HANDLES:
                    await trio.sleep(0.2)
