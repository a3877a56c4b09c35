"""A daemon that trains, under attack from a stranger: it stays up, counts, and goes on with its work."""

from __future__ import annotations

import random
import statistics
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio

from swarmd.net.rpc import call, receive_message
from swarmd.protocols.advert_messages import ADVERT_PROTOCOL, GetAdvert, OwnAdvertIs
from swarmd.protocols.ids import BlobHash, PeerId, RunId
from swarmd.protocols.messages import (
    BLOB_PROTOCOL,
    FROM_MEMBER,
    LINK_PROTOCOL,
    SESSION_PROTOCOL,
    Declined,
)
from swarmd.protocols.registry import Registry
from tests.e2e.daemons import Daemon, daemons, until
from tests.e2e.hostile_messages import KAD, Target
from tests.e2e.hostile_peer import (
    STARTS,
    TLS_HELLO,
    Honest,
    HostilePeer,
    control_lines,
    everywhere,
    garbage_to_control,
    garbage_to_port,
    node,
    ports,
)
from tests.e2e.test_daemons import big_job, training

pytestmark = [pytest.mark.slow, pytest.mark.net, pytest.mark.heavy]

MOST_GROWTH = 64 << 20
"""Bytes by which the daemon's memory may be larger after the attack than before."""
MOST_HANDLES = 12
"""File descriptors by which it may hold more."""


PEERS = 25
"""Attackers, one after the other: each is banned some hundreds of messages on."""
KNOWN = {
    SESSION_PROTOCOL, BLOB_PROTOCOL, LINK_PROTOCOL, ADVERT_PROTOCOL, KAD, "/ipfs/id/1.0.0", "/ipfs/id/push/1.0.0",
    "/ipfs/ping/1.0.0",
}  # fmt: skip
RISING = ("violations", "peers_banned", "streams_lost", "handshakes_failed", "garbage")
"""Counters that show the attack."""


async def ask(daemon: Daemon, method: str, **params: object):
    return await trio.to_thread.run_sync(partial(daemon.ask, method, **params))


async def attack(daemon: Daemon, target: Target, chance: random.Random) -> int:
    """Some ten thousand messages, to every port and every protocol, by peer after peer; gives how many."""
    address, sent = daemon.addresses[0].partition("/p2p/")[0], 0
    starts = (*STARTS, TLS_HELLO, b"GET /metrics HTTP/1.1\r\n")
    doors = [(port, start) for port in ports(daemon) for start in starts]
    for number in range(PEERS):
        async with node(100 + number, listen=()) as (identity, transport, _):
            peer = HostilePeer(transport, identity, target, address, chance)
            protocols = await peer.protocols()
            assert set(protocols) >= KNOWN
            await peer.muxer_frames(60)
            await everywhere(len(protocols) * 40, lambda n, p=peer, names=protocols: p.talk(names[n % len(names)]))
            await everywhere(30, lambda n: garbage_to_port(*chance.choice(doors), chance))
            await everywhere(15, lambda n: garbage_to_control(daemon.paths.control, control_lines(chance)))
            await peer.half_open(protocols, 2)
            sent += peer.sent + 45
    return sent


async def test_ten_thousand_hostile_messages_harm_nobody(tmp_path: Path) -> None:
    chance = random.Random(16)
    with daemons(tmp_path) as start:
        daemon = start("one", "--metrics", "127.0.0.1:0")
        run = daemon.ask("submit", path=big_job(tmp_path, 1))["run"]
        until(lambda: training(daemon, run), 60)
        process = psutil.Process(daemon.process.pid)
        target = Target(PeerId(daemon.peer), RunId(run), BlobHash("1" * 64))
        async with node(1) as (_, *theirs):
            honest = Honest(daemon, *theirs)
            await honest.join()
            before, files = process.memory_info().rss, process.num_fds()
            counted, step = (await ask(daemon, "status"))["counters"], (await ask(daemon, "job", run=run))["step"]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(honest.keep_looking)
                assert await attack(daemon, target, chance) >= 10_000
                nursery.cancel_scope.cancel()
            status = await ask(daemon, "status")
            assert status["pid"] == daemon.process.pid
            assert status["hosting"] == [run]
            assert training(daemon, run)["step"] > step
            still = [name for name in RISING if status["counters"][name] <= counted.get(name, 0)]
            assert still == []
            assert statistics.median(honest.seconds) < 1
            assert process.memory_info().rss - before < MOST_GROWTH
            assert [place.name for place in daemon.paths.leases.iterdir()] == [run]
            with trio.fail_after(30):
                while process.num_fds() - files > MOST_HANDLES:  # noqa: ASYNC110 - another process
                    await trio.sleep(0.2)


async def test_a_strangers_job_is_refused_with_its_reason_and_allocates_nothing(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        daemon = start("one", "--accept", "self")
        until(lambda: daemon.ask("status")["device"])
        target = Target(PeerId(daemon.peer), RunId("1" * 64), BlobHash("1" * 64))
        address, children = daemon.addresses[0].partition("/p2p/")[0], len(daemon.look())
        async with node(1) as (identity, transport, _):
            stranger = HostilePeer(transport, identity, target, address, random.Random(1))
            await stranger.dial()
            stream = await transport.open_stream(target.peer, SESSION_PROTOCOL)
            await stream.send_all(stranger.phrases.strangers_offer())
            answer = Registry(*FROM_MEMBER).decode(await receive_message(stream))
            assert isinstance(answer, Declined)
            assert "takes its owner's jobs only" in answer.reason
            advert = await call(transport, target.peer, ADVERT_PROTOCOL, GetAdvert(b""), OwnAdvertIs)
            assert advert.advert
        assert not daemon.ask("status")["hosting"]
        assert not daemon.paths.leases.exists()
        assert len(daemon.look()) == children
