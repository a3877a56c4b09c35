"""The library's host, with every handler guarded and every wait bounded."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio
from libp2p.abc import INetStream
from libp2p.exceptions import BaseLibp2pError
from libp2p.host.basic_host import BasicHost
from libp2p.host.exceptions import StreamFailure
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID
from libp2p.protocol_muxer.multiselect_communicator import MultiselectCommunicator

from swarmd.net.counters import Counters
from swarmd.net.host.guard import Gate, LibraryHandler
from swarmd.net.host.negotiation import BoundedReader, request
from swarmd.net.host.swarm import BoundedSwarm
from swarmd.protocols.ids import PeerId

NEGOTIATION = 8.0
"""Seconds for agreeing on a stream's protocol."""
_IDENTIFY = 15.0


class NotSpoken(StreamFailure):  # type: ignore[misc]
    """The peer does not speak the protocol."""


class GuardedHost(BasicHost):  # type: ignore[misc]
    """Streams by protocol. ``identified`` is told of each peer whose protocols and addresses are known.

    It is asked once ``tasks`` is set.
    """

    def __init__(self, swarm: BoundedSwarm, counters: Counters) -> None:
        super().__init__(swarm)
        self.counters, self.gate = counters, Gate(counters, self._offended)
        self.tasks: trio.Nursery | None = None
        self.identified: Callable[[ID], Awaitable[None]] | None = None
        for protocol, handler in tuple(self.multiselect.handlers.items()):
            self.set_stream_handler(protocol, handler)

    def set_stream_handler(self, protocol_id: str, stream_handler: LibraryHandler) -> None:
        """Serve a protocol, behind the gate."""
        super().set_stream_handler(protocol_id, self.gate.guarded(protocol_id, stream_handler))

    async def new_stream(self, peer_id: ID, protocol_ids: list[str]) -> INetStream:
        """A stream that speaks one of the protocols. Raises NotSpoken or another library error."""
        for protocol in protocol_ids:
            stream = await self._network.new_stream(peer_id)
            # A cancelled close leaves the library's record of a stream behind.
            stream.swarm_conn.streams -= {each for each in stream.swarm_conn.streams if each.muxed_stream.over}
            if await self._agree(stream, protocol):
                stream.set_protocol(protocol)
                return stream
        raise NotSpoken(f"the peer does not speak {', '.join(protocol_ids)}")

    async def _agree(self, stream: NetStream, protocol: str) -> bool:
        spoken = False
        try:
            with trio.fail_after(NEGOTIATION):
                spoken = await request(stream, protocol)
        except trio.TooSlowError as error:
            raise StreamFailure(f"no answer in {NEGOTIATION:.0f} s") from error
        finally:
            if not spoken:
                stream.muxed_stream.abandon()
                with trio.CancelScope(shield=True):
                    await stream.reset()
        return spoken

    async def _swarm_stream_handler(self, net_stream: NetStream) -> None:
        handler: LibraryHandler | None = None
        try:
            with trio.fail_after(NEGOTIATION):
                protocol, handler = await self.multiselect.negotiate(
                    MultiselectCommunicator(BoundedReader(net_stream)), int(NEGOTIATION)
                )
            net_stream.set_protocol(protocol)
        except (BaseLibp2pError, UnicodeDecodeError, ValueError, EOFError, trio.TooSlowError):
            handler = None
        if handler is None:
            self.counters.add("negotiations_failed")
            self._offended(net_stream.muxed_conn.peer_id)
            await net_stream.reset()
            return
        await handler(net_stream)

    def ban(self, peer: PeerId) -> None:
        """Close a peer's connections, and let it make none for a while."""
        if self._network.bans.ban(peer, trio.current_time()):
            self._throw_out(ID.from_base58(peer))

    def _offended(self, peer: ID) -> None:
        if self._network.bans.offend(peer.to_base58(), trio.current_time()):
            self._throw_out(peer)

    def _throw_out(self, peer: ID) -> None:
        self.counters.add("peers_banned")
        if self.tasks is not None:
            self.tasks.start_soon(self._network.close_peer, peer)

    def _schedule_identify(self, peer_id: ID, *, reason: str) -> None:
        # The library does this in a system task, where an exception ends the program.
        if self.tasks is not None and peer_id not in self._identify_inflight:
            self._identify_inflight.add(peer_id)
            self.tasks.start_soon(self._identify_safely, peer_id, reason)

    async def _identify_safely(self, peer_id: ID, reason: str) -> None:
        try:
            with trio.move_on_after(_IDENTIFY):
                await self._identify_peer(peer_id, reason=reason)
                if self.identified is not None:
                    await self.identified(peer_id)
        except Exception:  # noqa: BLE001 - what one peer says of itself must not end the host
            self.counters.add("handler_errors")
        finally:
            self._identify_inflight.discard(peer_id)
