"""The server's end of the ledger protocol: bounded, paced for each peer, short with peers that send what is wrong."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import trio

from swarmd.ledger.asking import MESSAGE_BYTES
from swarmd.ledger.keeper import Keeper
from swarmd.net.rpc import RpcHandler, serve_rpc
from swarmd.net.transport import StreamLimits
from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.messages import LEDGER_PROTOCOL
from swarmd.protocols.pacing import RateLimit

STREAMS_PER_PEER = 16
PER_SECOND = 50.0
BURST = 2000
"""A newcomer asks about 600 questions at once for 10,000 accounts."""
OFFENCES_PER_SECOND = 1 / 60
OFFENCES = 10
"""Wrong messages that a peer may send before its connection is dropped."""


class Desk:
    """Answers questions by the handler of their type."""

    def __init__(self, keeper: Keeper, handlers: Mapping[type[Any], RpcHandler]) -> None:
        self._keeper, self._handlers = keeper, handlers
        self._rate: RateLimit[PeerId] = RateLimit(PER_SECOND, BURST)
        self._offences: RateLimit[PeerId] = RateLimit(OFFENCES_PER_SECOND, OFFENCES)

    def serve(self) -> None:
        """Answer from now on."""
        guarded = {kind: self._guarded(handler) for kind, handler in self._handlers.items()}
        limits = StreamLimits(streams_per_peer=STREAMS_PER_PEER)
        transport = self._keeper.deps.transport
        serve_rpc(transport, LEDGER_PROTOCOL, guarded, limits=limits, max_bytes=MESSAGE_BYTES)

    async def offended(self, peer: PeerId) -> None:
        """A peer sent what no honest peer sends; too much of it costs the connection."""
        self._keeper.counters["offences"] += 1
        if not self._offences.allow(peer, trio.current_time()):
            self._keeper.counters["offenders_dropped"] += 1
            await self._keeper.deps.transport.disconnect(peer)

    def _guarded(self, handler: RpcHandler) -> RpcHandler:
        async def guarded(peer: PeerId, request: object) -> object:
            if not self._rate.allow(peer, trio.current_time()):
                self._keeper.counters["requests_over_rate"] += 1
                raise NotYet("too many questions about the ledger", hint=f"ask at most {PER_SECOND:g}/s")
            try:
                return await handler(peer, request)
            except ProtocolViolation:
                await self.offended(peer)
                raise

        return guarded
