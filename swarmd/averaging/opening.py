"""Opening a session between daemons: each member asks each other one for a ticket, and dials.

Every member dials the links that it sends on, as stages of a pipeline do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import trio

from swarmd.averaging.session import Session
from swarmd.net.rpc import call, serve_rpc
from swarmd.net.tensorlink import Flow, LinkSpec, TensorListener, Ticket, dial_link
from swarmd.net.transport import StreamLimits, Transport
from swarmd.protocols.averaging import AVERAGING_PROTOCOL, OpenAveraging
from swarmd.protocols.errors import NotFound, PeerLost, ProtocolViolation, RemoteError, TimedOut
from swarmd.protocols.ids import PeerId, RunId, short
from swarmd.protocols.messages import LinkTicket

RETRY_EVERY = 0.2
"""Seconds between attempts to reach a member that is not there yet."""


@dataclass(frozen=True, slots=True)
class _Open:
    session: Session
    members: frozenset[PeerId]
    nursery: trio.Nursery


class AveragingDesk:
    """This node's sessions, by run: where other members' requests for links come in."""

    def __init__(self, transport: Transport, tensors: TensorListener) -> None:
        self.transport, self.tensors = transport, tensors
        self._open: dict[RunId, _Open] = {}
        limits = StreamLimits(streams_per_peer=4, read_deadline=10.0)
        serve_rpc(transport, AVERAGING_PROTOCOL, {OpenAveraging: self._answer}, limits=limits)

    def open(self, session: Session, members: Iterable[PeerId], nursery: trio.Nursery) -> None:
        """Requests of these peers go to this session, which takes the place of any other of its run."""
        self._open[session.run] = _Open(session, frozenset(members), nursery)

    def close(self, session: Session) -> None:
        """And no longer."""
        self._open.pop(session.run, None)

    async def _answer(self, peer: PeerId, request: OpenAveraging) -> LinkTicket:
        found = self._open.get(request.run)
        if found is None:
            raise NotFound(f"no replica of run {short(request.run)} averages here")
        if peer not in found.members:
            raise ProtocolViolation("a link from a peer that is no replica of this stage")
        ticket = self.tensors.issue_ticket(LinkSpec(peer, request.run, Flow.TO_LISTENER))
        found.nursery.start_soon(self._accept, found.session, peer, ticket)
        return LinkTicket(ticket.ticket, ticket.certificate_sha256, ticket.port)

    async def _accept(self, session: Session, peer: PeerId, ticket: Ticket) -> None:
        try:
            session.add(peer, await self.tensors.accept(ticket))
        except (TimedOut, RemoteError):
            return  # the peer may ask again


async def open_session(
    desk: AveragingDesk,
    run: RunId,
    members: Mapping[PeerId, tuple[str, ...]],
    nursery: trio.Nursery,
    seconds: float = 30.0,
) -> Session:
    """A session with these peers (with their addresses); who is not reached within ``seconds`` is not connected."""
    me = desk.transport.peer_id
    session = Session(me, run, nursery)
    others = {peer: addresses for peer, addresses in members.items() if peer != me}
    desk.open(session, others, nursery)
    with trio.move_on_after(seconds):
        async with trio.open_nursery() as dials:
            for peer, addresses in others.items():
                dials.start_soon(_reach, desk, session, peer, addresses)
        await session.wait_connected(others.keys())
    return session


async def _reach(desk: AveragingDesk, session: Session, peer: PeerId, addresses: tuple[str, ...]) -> None:
    while True:
        try:
            if peer not in desk.transport.connected():
                await desk.transport.dial(peer, addresses)
            answer = await call(desk.transport, peer, AVERAGING_PROTOCOL, OpenAveraging(session.run), LinkTicket)
            await _dial(desk, session, peer, addresses, Ticket(answer.ticket, answer.certificate, answer.port))
            return
        except (RemoteError, TimedOut):
            await trio.sleep(RETRY_EVERY)


async def _dial(
    desk: AveragingDesk, session: Session, peer: PeerId, addresses: tuple[str, ...], ticket: Ticket
) -> None:
    known = (*desk.transport.remote_addresses(peer), *addresses)
    hosts = dict.fromkeys(address.split("/")[2] for address in known)
    for host in hosts:
        try:
            session.add(peer, await dial_link(host, ticket, LinkSpec(peer, session.run, Flow.TO_LISTENER)))
            return
        except (PeerLost, TimedOut):
            continue
    raise PeerLost(f"no tensor link to {short(peer)}")
