"""A hostile peer: everything one can do to a daemon from outside, over the network and on its control socket."""

from __future__ import annotations

import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import psutil
import trio
from libp2p.peer.id import ID
from libp2p.utils.varint import encode_delim, encode_uvarint

from swarmd.identity import Identity, identity_of
from swarmd.net.host import open_host
from swarmd.net.host.frames import DATA, PING, SYN, WINDOW_UPDATE, frame
from swarmd.net.transport import RecordStore, Transport
from swarmd.network import MAIN
from swarmd.protocols.advert import advert_key, record_check
from swarmd.protocols.errors import PeerLost, Refused
from swarmd.protocols.ids import PeerId
from tests.e2e.daemons import Daemon
from tests.e2e.hostile_messages import Phrases, Target

HELLO = encode_delim(b"/multistream/1.0.0")
STARTS = (
    b"",
    HELLO,
    HELLO + encode_delim(b"/noise"),
    HELLO + encode_delim(b"/plaintext/2.0.0"),
    HELLO + encode_uvarint((1 << 64) - 1),
    encode_uvarint(1 << 60),
)
TLS_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"
LISTEN = ("/ip4/127.0.0.1/tcp/0",)
AT_ONCE = 16
MOST_DIALS = 3
"""Of one identity, which may have been banned."""


@asynccontextmanager
async def node(number: int, listen: tuple[str, ...] = LISTEN) -> AsyncIterator[tuple[Identity, Transport, RecordStore]]:
    """A host of our own with the identity of that number."""
    identity = identity_of(number.to_bytes(32, "big"))
    check = record_check(MAIN.id, time.time)
    async with open_host(key_seed=identity.seed, listen=listen, psk=None, namespace="swarmd", check=check) as (
        transport,
        records,
    ):
        yield identity, transport, records


class HostilePeer:
    """One attacker with one identity. ``sent`` counts its messages; it dials again when it is thrown out."""

    def __init__(
        self, transport: Transport, identity: Identity, target: Target, address: str, chance: random.Random
    ) -> None:
        self.transport, self.identity = transport, identity
        self.sent = self._dials = 0
        self._target, self._address, self._chance = target, address, chance
        self.phrases = Phrases(identity, target, chance)

    async def protocols(self) -> tuple[str, ...]:
        """Every protocol the daemon says it speaks."""
        victim, store = ID.from_base58(self._target.peer), self.transport._host.get_peerstore()  # type: ignore[attr-defined]
        await self.transport.dial(self._target.peer, (self._address,))
        with trio.fail_after(10):
            while victim not in store.peer_ids() or not store.get_protocols(victim):  # noqa: ASYNC110
                await trio.sleep(0.01)
        return tuple(sorted(store.get_protocols(victim)))

    @property
    def connected(self) -> bool:
        """Whether the daemon has not thrown us out."""
        return self._target.peer in self.transport.connected()

    async def dial(self) -> None:
        """Be connected, if the daemon lets us."""
        if self._target.peer not in self.transport.connected() and self._dials < MOST_DIALS:
            self._dials += 1
            with suppress(PeerLost):
                await self.transport.dial(self._target.peer, (self._address,))

    async def talk(self, protocol: str, patience: float = 0.02) -> None:
        """One stream with one message that it should not send."""
        self.sent += 1
        await self.dial()
        with suppress(PeerLost, Refused), trio.move_on_after(5):
            stream = await self.transport.open_stream(self._target.peer, protocol)
            await stream.send_all(self.phrases.of(protocol))
            await self._chance.choice((stream.close, stream.reset, trio.lowlevel.checkpoint))()
            with trio.move_on_after(patience):
                await stream.receive_exactly(1 << 16)
            await stream.reset()

    async def muxer_frames(self, count: int) -> None:
        """Frames of the multiplexer that no honest peer sends, straight onto the secured connection."""
        await self.dial()
        connections = self.transport._swarm.get_connections(ID.from_base58(self._target.peer))  # type: ignore[attr-defined]
        for connection in connections[:1]:
            for _ in range(count):
                self.sent += 1
                connection.muxed_conn.outbox.append(self._frame())
            await trio.sleep(0.01)

    async def half_open(self, protocols: Iterable[str], each: int) -> None:
        """Streams that are opened and then left, some before they say which protocol."""
        await self.dial()
        with suppress(PeerLost, Refused):
            for protocol in protocols:
                for _ in range(each):
                    self.sent += 1
                    with trio.move_on_after(5):
                        await self.transport.open_stream(self._target.peer, protocol)

    def _frame(self) -> bytes:
        chance = self._chance
        number = chance.choice((0, 1, 2, 9999, (1 << 32) - 1))
        return chance.choice(
            (
                frame(PING, 0, number, 7),
                frame(PING, SYN, 0, chance.randrange(1 << 32)),
                frame(WINDOW_UPDATE, chance.randrange(16) & ~SYN, 77_777, chance.randrange(1 << 32)),
                frame(DATA, chance.randrange(16) & ~SYN, 77_777, 5) + b"hello",
            )
        )


async def everywhere(count: int, one: Callable[[int], Awaitable[None]], at_once: int = AT_ONCE) -> None:
    """``one(n)`` for n below ``count``, some at a time."""
    limit = trio.CapacityLimiter(at_once)

    async def limited(number: int) -> None:
        async with limit:
            await one(number)

    async with trio.open_nursery() as nursery:
        for number in range(count):
            nursery.start_soon(limited, number)


async def garbage_to_port(port: int, start: bytes, chance: random.Random, patience: float = 0.05) -> None:
    """One TCP connection that says ``start`` and then noise, or nothing at all."""
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_tcp_stream("127.0.0.1", port) as stream:
            await stream.send_all(start + chance.randbytes(chance.randrange(400)))
            if chance.random() < 0.7:
                await stream.send_eof()
            with trio.move_on_after(patience):
                while await stream.receive_some(4096):
                    pass


async def garbage_to_control(path: Path, line: bytes) -> bytes:
    """One control connection that says ``line``; what came back."""
    answer = b""
    with suppress(OSError, trio.BrokenResourceError):
        async with await trio.open_unix_socket(str(path)) as stream:
            await stream.send_all(line)
            with trio.move_on_after(0.3):
                while piece := await stream.receive_some(1 << 16):
                    answer += piece
    return answer


def control_lines(chance: random.Random) -> bytes:
    """A line that is no request."""
    return chance.choice(
        (
            chance.randbytes(chance.randrange(200)).replace(b"\n", b"") + b"\n",
            b"x" * 100_000 + b"\n",
            b"[" * 60_000 + b"\n",
            b'{"v": 1, "method": "job", "params": {"run": 7}}\n',
            b'{"v": 1, "method": "submit", "params": {"path": "/dev/zero\\u0000"}}\n',
            b'{"v": 99, "method": "status", "params": {}}\n',
            b'{"v": 1, "method": "\xff", "params": []}\n',
            b'{"v": 1, "method": "watch", "params": {"every": "often"}}\n',
            b'{"v": 1, "method": "watch", "params": {"every": 1e999}}\n',
        )
    )


def ports(daemon: Daemon) -> list[int]:
    """Every TCP port the daemon listens on."""
    mine = psutil.Process(daemon.process.pid).net_connections("tcp")
    return [each.laddr.port for each in mine if each.status == psutil.CONN_LISTEN]


class Honest:
    """Another peer of the same daemon, who times its lookups."""

    def __init__(self, daemon: Daemon, transport: Transport, records: RecordStore) -> None:
        self.daemon, self.transport, self.records = daemon, transport, records
        self.seconds: list[float] = []

    async def look_up(self) -> float:
        """The time one lookup of the daemon's advert takes."""
        began = time.perf_counter()
        with trio.fail_after(30):
            assert await self.records.get(advert_key(PeerId(self.daemon.peer))) is not None
        return time.perf_counter() - began

    async def keep_looking(self) -> None:
        while True:
            self.seconds.append(await self.look_up())
            await trio.sleep(0.1)

    async def join(self) -> None:
        await self.transport.dial(PeerId(self.daemon.peer), (self.daemon.addresses[0].partition("/p2p/")[0],))
        with trio.fail_after(10):
            while await self.records.get(advert_key(PeerId(self.daemon.peer))) is None:  # noqa: ASYNC110
                await trio.sleep(0.05)
