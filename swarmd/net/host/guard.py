"""What one peer may do with one protocol: how many streams, how long a silence, and no exception gets out.

An exception that leaves a stream handler ends the whole host, the library's own handlers included.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable

from libp2p.network.stream.exceptions import StreamError
from libp2p.network.stream.net_stream import NetStream
from libp2p.peer.id import ID

from swarmd.net.counters import Counters, is_only
from swarmd.net.transport import StreamLimits
from swarmd.protocols.errors import PeerLost, ProtocolViolation

LibraryHandler = Callable[[NetStream], Awaitable[None]]

_LIBRARY_LIMITS = StreamLimits(streams_per_peer=4, read_deadline=20.0)
"""Below the library's limit for all peers together, so that one peer cannot use it up."""
_MOST_PER_PEER = 96
"""Streams of all protocols together."""


class Gate:
    """The streams that peers hold open, and the limits that apply to them.

    ``offended`` is told of each peer whose stream broke a rule.
    """

    def __init__(self, counters: Counters, offended: Callable[[ID], None]) -> None:
        self._counters, self._offended = counters, offended
        self._limits: dict[str, StreamLimits] = {}
        self._open: Counter[tuple[str, str]] = Counter()
        self._of_peer: Counter[str] = Counter()

    def limit(self, protocol: str, limits: StreamLimits) -> None:
        """Set what a protocol grants one peer."""
        self._limits[protocol] = limits

    def guarded(self, protocol: str, handler: LibraryHandler) -> LibraryHandler:
        """A handler that keeps to the limits, and ends its stream in every case."""

        async def run(stream: NetStream) -> None:
            limits = self._limits.get(protocol, _LIBRARY_LIMITS)
            peer = stream.muxed_conn.peer_id.to_base58()
            if not self._enter(peer, protocol, limits):
                self._offence("streams_over_cap", stream)
                await stream.reset()
                return
            stream.muxed_stream.read_deadline = limits.read_deadline
            try:
                await self._serve(stream, handler)
            finally:
                self._leave(peer, protocol)

        return run

    async def _serve(self, stream: NetStream, handler: LibraryHandler) -> None:
        try:
            await handler(stream)
        except Exception as error:  # noqa: BLE001 - the edge of what serves one peer
            if is_only(error, PeerLost, StreamError):
                self._counters.add("streams_lost")
            else:
                self._offence("violations" if is_only(error, ProtocolViolation) else "handler_errors", stream)
            await stream.reset()
        else:
            await stream.close()

    def _offence(self, counter: str, stream: NetStream) -> None:
        self._counters.add(counter)
        self._offended(stream.muxed_conn.peer_id)

    def _enter(self, peer: str, protocol: str, limits: StreamLimits) -> bool:
        over = self._open[peer, protocol] >= limits.streams_per_peer or self._of_peer[peer] >= _MOST_PER_PEER
        if not over:
            self._open[peer, protocol] += 1
            self._of_peer[peer] += 1
        return not over

    def _leave(self, peer: str, protocol: str) -> None:
        for counts, key in ((self._open, (peer, protocol)), (self._of_peer, peer)):
            counts[key] -= 1  # type: ignore[index]
            if not counts[key]:  # type: ignore[index]
                del counts[key]
