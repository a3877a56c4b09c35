"""Where a neighbour's request for a tensor link finds the stage it is meant for."""

from __future__ import annotations

from typing import Protocol

from swarmd.net.rpc import call, serve_rpc
from swarmd.net.transport import StreamLimits, Transport
from swarmd.protocols.errors import NotFound
from swarmd.protocols.ids import PeerId, RunId, short
from swarmd.protocols.messages import LINK_PROTOCOL, LinkTicket, OpenLink


class Invites(Protocol):
    """A stage that neighbours may open links to."""

    def invite(self, peer: PeerId, request: OpenLink) -> LinkTicket:
        """A ticket for this peer. Raises RemoteError unless the plan makes it a neighbour."""
        ...


class LinkDesk:
    """The stages on this node, by run."""

    def __init__(self, transport: Transport) -> None:
        self._stages: dict[RunId, Invites] = {}
        limits = StreamLimits(streams_per_peer=4, read_deadline=10.0)
        serve_rpc(transport, LINK_PROTOCOL, {OpenLink: self._answer}, limits=limits)

    def open(self, run: RunId, stage: Invites) -> None:
        """Requests for this run go to this stage."""
        self._stages[run] = stage

    def close(self, run: RunId) -> None:
        """And no longer."""
        self._stages.pop(run, None)

    async def _answer(self, peer: PeerId, request: OpenLink) -> LinkTicket:
        stage = self._stages.get(request.run)
        if stage is None:
            raise NotFound(f"no stage of run {short(request.run)} is here")
        return stage.invite(peer, request)


async def ask_for_ticket(transport: Transport, peer: PeerId, request: OpenLink) -> LinkTicket:
    """A ticket from a neighbour. Raises RemoteError."""
    return await call(transport, peer, LINK_PROTOCOL, request, LinkTicket)
