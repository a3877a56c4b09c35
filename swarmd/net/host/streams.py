"""Our streams and our transport, over the library's."""

from __future__ import annotations

import trio
from libp2p.exceptions import BaseLibp2pError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from multiaddr import Multiaddr
from multiaddr.exceptions import Error as MultiaddrError

from swarmd.net.host.addresses import listening
from swarmd.net.host.basic import GuardedHost, NotSpoken
from swarmd.net.host.sockets import address_of
from swarmd.net.stream_gossip import StreamGossip
from swarmd.net.transport import Handler, StreamLimits
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused
from swarmd.protocols.ids import PeerId, public_key_of, short

_PIECE = 1024 * 1024


class HostStream:
    """One stream to a peer whose identity the handshake proved."""

    def __init__(self, stream: NetStream) -> None:
        self._stream = stream
        self.remote = PeerId(stream.muxed_conn.peer_id.to_base58())

    async def receive_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises PeerLost."""
        received = bytearray()
        while len(received) < count:
            try:
                received += await self._stream.muxed_stream.read(min(count - len(received), _PIECE))
            except BaseLibp2pError as error:
                raise self._lost(error) from error
        return bytes(received)

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Raises PeerLost."""
        try:
            await self._stream.muxed_stream.write(data)
        except BaseLibp2pError as error:
            raise self._lost(error) from error

    async def close(self) -> None:
        """End our side."""
        await self._stream.close()

    async def reset(self) -> None:
        """Abandon both sides."""
        await self._stream.reset()

    def _lost(self, error: BaseLibp2pError) -> PeerLost:
        return PeerLost(f"the stream to {short(self.remote)} is over: {error}")


class HostTransport:
    """Streams to and from peers, over TCP, Noise and yamux."""

    def __init__(self, host: GuardedHost) -> None:
        self._host = host
        self._swarm = host.get_network()
        self._gossip = StreamGossip(self, host.counters, host.ban)

    @property
    def peer_id(self) -> PeerId:
        """Who we are."""
        return PeerId(self._host.get_id().to_base58())

    @property
    def gossip(self) -> StreamGossip:
        """Messages to everybody; its ``run`` must run."""
        return self._gossip

    def addresses(self) -> tuple[str, ...]:
        """Multiaddresses we listen on; a wildcard is spelled out as this machine's addresses."""
        return listening(str(address) for address in self._host.get_transport_addrs())

    def handle(self, protocol: str, handler: Handler, limits: StreamLimits) -> None:
        """Serve a protocol."""

        async def serve(stream: NetStream) -> None:
            await handler(HostStream(stream))

        self._host.gate.limit(protocol, limits)
        self._host.set_stream_handler(protocol, serve)

    async def dial(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        """Connect by the addresses given, or else by those that worked before. Raises PeerLost."""
        if peer == self.peer_id:
            raise PeerLost("this is our own peer id", hint="give another peer's address")
        known = self._swarm.book.of(peer)
        try:
            await self._swarm.dial_every(_library_id(peer), (*map(_bare, addresses), *known))
        except BaseLibp2pError as error:
            raise PeerLost(
                f"cannot reach {short(peer)}: {error}", hint="check that it runs and that its port is open"
            ) from error

    async def open_stream(self, peer: PeerId, protocol: str) -> HostStream:
        """A stream to a connected peer. Raises PeerLost or Refused."""
        if peer not in self.connected():
            raise PeerLost(f"not connected to {short(peer)}", hint="dial it first")
        try:
            return HostStream(await self._host.new_stream(_library_id(peer), [protocol]))
        except NotSpoken as error:
            raise Refused(f"{short(peer)} does not speak {protocol}", hint="it may run another version") from error
        except BaseLibp2pError as error:
            raise PeerLost(f"no stream to {short(peer)}: {str(error) or 'it does not answer'}") from error

    def connected(self) -> frozenset[PeerId]:
        """Peers with a live connection."""
        return frozenset(
            PeerId(peer.to_base58())
            for peer, connections in self._swarm.connections.items()
            if any(not each.is_closed for each in connections)
        )

    def remote_addresses(self, peer: PeerId) -> tuple[str, ...]:
        """Addresses of the far ends of the live connections."""
        if peer not in self.connected():
            return ()
        live = self._swarm.get_connections(_library_id(peer))
        ends = (each.muxed_conn.get_remote_address() for each in live if not each.is_closed)
        return tuple(dict.fromkeys(address_of(end) for end in ends if end is not None))

    async def disconnect(self, peer: PeerId) -> None:
        """Drop every connection to a peer."""
        if peer in self.connected():
            with trio.CancelScope(shield=True):
                await self._swarm.close_peer(_library_id(peer))

    def counters(self) -> dict[str, int]:
        """Totals since the start."""
        return self._host.counters.snapshot()


def _library_id(peer: PeerId) -> ID:
    try:
        public_key_of(peer)
    except ProtocolViolation as error:
        raise PeerLost(f"no such peer: {error.message}", hint="a peer id looks like 12D3KooW...") from error
    return ID.from_base58(peer)


def _bare(address: str) -> str:
    """An address without its ``/p2p`` part; one that cannot be parsed stays, and fails with its reason."""
    try:
        return str(Multiaddr(address)).partition("/p2p/")[0]
    except (MultiaddrError, ValueError):
        return address
