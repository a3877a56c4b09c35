"""The library's swarm, with our muxer, our bounds on inbound connections, and our dialling."""

from __future__ import annotations

import contextlib

import trio
from libp2p.abc import IMuxedConn, INetConn
from libp2p.io.trio import TrioTCPStream
from libp2p.network.auto_connector import AutoConnector
from libp2p.network.config import ConnectionConfig
from libp2p.network.exceptions import SwarmException
from libp2p.network.swarm import Swarm
from libp2p.peer.id import ID
from libp2p.peer.peerstore import PeerStoreError
from libp2p.stream_muxer.muxer_multistream import MuxerMultistream
from libp2p.stream_muxer.yamux.yamux import Yamux
from multiaddr import Multiaddr

from swarmd.net.bans import Bans
from swarmd.net.counters import Counters
from swarmd.net.host.admission import MOST_CONNECTIONS, Admission
from swarmd.net.host.dial import AddressBook, first_to_answer
from swarmd.net.host.frames import PROTOCOL
from swarmd.net.host.muxer import Muxer
from swarmd.net.host.noise import NoiseSession
from swarmd.net.host.sockets import BoundedConnection

_HANDSHAKE = 8.0
"""Seconds for a connection to become secure and multiplexed."""
_MOST_PER_PEER = 4
"""Connections one identity may hold at once; two are normal when both sides dial."""


def connection_config() -> ConnectionConfig:
    """No pruning by the library: whom to keep is a decision of the daemon."""
    return ConnectionConfig(
        max_connections=MOST_CONNECTIONS,
        min_connections=0,
        low_watermark=0,
        high_watermark=MOST_CONNECTIONS,
        max_connections_per_peer=_MOST_PER_PEER,
        inbound_upgrade_timeout=_HANDSHAKE,
        outbound_upgrade_timeout=_HANDSHAKE,
    )


class NoAutoConnector(AutoConnector):  # type: ignore[misc]
    """Never starts: whom to dial is a decision of the daemon too."""

    async def start(self) -> None:
        """Nothing."""


class OwnMuxer(MuxerMultistream):  # type: ignore[misc]
    """Negotiates yamux, and then runs ours; the library names its own class, whatever is registered."""

    def __init__(self, counters: Counters) -> None:
        super().__init__({PROTOCOL: Yamux}, negotiate_timeout=int(_HANDSHAKE))
        self._counters = counters

    async def new_conn(self, conn: NoiseSession, peer_id: ID) -> Muxer:
        """A multiplexed connection over a secured one."""
        await self._selector.select(conn, conn.is_initiator, self.negotiate_timeout)
        return Muxer(conn, peer_id, self._counters)


class BoundedSwarm(Swarm):  # type: ignore[misc]
    """Connections to peers. Set ``counters`` and ``book`` come from ``prepare``."""

    def prepare(self, counters: Counters) -> BoundedSwarm:
        """Give the swarm what the library's constructor has no argument for."""
        self.counters = counters
        self.book = AddressBook()
        self.admission, self.bans = Admission(), Bans()
        self.auto_connector = NoAutoConnector(self)
        self._dialling: dict[ID, trio.Lock] = {}
        return self

    async def _handle_inbound_connection(self, read_write_closer: TrioTCPStream, maddr: Multiaddr) -> None:
        # The library's own never gives an inbound slot back, so that a node is deaf after some hundreds.
        connection = BoundedConnection(read_write_closer, False)
        remote = connection.get_remote_address()
        address = remote[0] if remote else None
        if not self.admission.admits(address):
            self.counters.add("connections_refused")
            await connection.close()
            return
        with self.admission.connection(address):
            muxer: IMuxedConn | None = None
            with self.admission.handshake():
                muxer = await self._upgrade(connection, maddr)
            if muxer is None:
                await connection.close()
            else:
                await muxer.event_closed.wait()

    async def _upgrade(self, connection: BoundedConnection, maddr: Multiaddr) -> IMuxedConn | None:
        try:
            with trio.fail_after(2 * _HANDSHAKE):
                muxer = await self.upgrade_inbound_raw_conn(connection, maddr)
        except Exception:  # noqa: BLE001 - bytes of a stranger, through much code of the library
            self.counters.add("handshakes_failed")
            return None
        banned = self.bans.banned(muxer.peer_id.to_base58(), trio.current_time())
        if banned or len(self.get_connections(muxer.peer_id)) > _MOST_PER_PEER:
            self.counters.add("connections_refused")
            await muxer.close()
        return muxer

    async def dial_peer(self, peer_id: ID) -> list[INetConn]:
        """Connections to a peer, dialled if there is none. Raises SwarmException.

        The library tries one address only, and refuses for a minute after a failure.
        """
        with contextlib.suppress(PeerStoreError):
            known = [str(address) for address in self.peerstore.addrs(peer_id)]
            await self.dial_every(peer_id, (*self.book.of(peer_id.to_base58()), *known))
        return self._live(peer_id)

    async def dial_every(self, peer_id: ID, addresses: tuple[str, ...]) -> dict[str, str]:
        """Connect by any address; the failures' reasons. Raises SwarmException if none answered."""
        lock = self._dialling.setdefault(peer_id, trio.Lock())
        try:
            async with lock:
                return await self._dial_once(peer_id, addresses)
        finally:
            if not lock.statistics().tasks_waiting:
                self._dialling.pop(peer_id, None)

    async def _dial_once(self, peer_id: ID, addresses: tuple[str, ...]) -> dict[str, str]:
        if self._live(peer_id):
            return {}
        if self.bans.banned(peer_id.to_base58(), trio.current_time()):
            raise SwarmException("it broke our rules: it is left alone for a while")

        async def attempt(address: str) -> None:
            await self._dial_addr_single_attempt(Multiaddr(address), peer_id)
            self.book.remember(peer_id.to_base58(), (address,))

        reasons = await first_to_answer(addresses, attempt)
        if not self._live(peer_id):
            self.counters.add("dials_failed")
            told = "; ".join(f"{address}: {reason}" for address, reason in reasons.items())
            raise SwarmException(told or "no address is known")
        return reasons

    async def part(self) -> None:
        """Close every connection, all at once."""
        async with trio.open_nursery() as nursery:
            for connection in self.get_connections():
                nursery.start_soon(connection.close)

    def _live(self, peer_id: ID) -> list[INetConn]:
        return [each for each in self.get_connections(peer_id) if not each.is_closed]
