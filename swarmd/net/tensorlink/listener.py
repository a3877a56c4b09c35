"""The tensor port: strangers come in, and only those with a ticket become connections."""

from __future__ import annotations

import logging
import socket
import ssl
from collections import Counter
from contextlib import ExitStack
from dataclasses import dataclass

import trio

from swarmd.net.tensorlink.certificate import Identity
from swarmd.net.tensorlink.connection import (
    Connection,
    detached,
    receive_exactly,
    send_all,
    when_ready,
)
from swarmd.net.tensorlink.halfopen import HalfOpen
from swarmd.net.tensorlink.tickets import TICKET_BYTES, Flow, LinkSpec, Offer, Ticket, TicketBook
from swarmd.protocols.errors import PeerLost, StateError, TimedOut

_log = logging.getLogger(__name__)
WELCOME = b"\1"
_TLS_HANDSHAKE = b"\x16"


@dataclass(frozen=True, slots=True, kw_only=True)
class DoorLimits:
    """What strangers may take of us."""

    greeting_seconds: float = 5.0
    """From connecting to showing a ticket."""
    half_open: int = 64
    half_open_per_address: int = 16
    ticket_seconds: float = 30.0
    tickets: int = 256
    tickets_per_peer: int = 16


class TensorListener:
    """Own TCP port for tensor links. Use: start ``serve`` in a nursery, issue a ticket, accept it."""

    def __init__(
        self,
        host: str = "0.0.0.0",
        port: int = 0,
        *,
        limits: DoorLimits | None = None,
        counters: Counter[str] | None = None,
    ) -> None:
        """Port 0 takes a free one. ``counters`` is added to from the trio thread only."""
        self._host, self._port = host, port
        self._limits = limits or DoorLimits()
        self.counters: Counter[str] = Counter() if counters is None else counters
        self._tickets = TicketBook(
            lifetime=self._limits.ticket_seconds,
            limit=self._limits.tickets,
            per_peer=self._limits.tickets_per_peer,
        )
        self._half_open = HalfOpen(total=self._limits.half_open, per_address=self._limits.half_open_per_address)
        self._identity: Identity | None = None
        self._bound: int | None = None

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        """Listen until cancelled; ``started`` gives the bound port.

        Raises:
            StateError: the address cannot be listened on.
        """
        try:
            listeners = await trio.open_tcp_listeners(self._port, host=self._host, backlog=128)
        except OSError as error:
            raise StateError(
                f"cannot listen for tensors on {self._host} port {self._port}: {error.strerror}",
                hint="choose another tensor port, or 0 for any free one",
            ) from error
        self._bound = listeners[0].socket.getsockname()[1]
        task_status.started(self._bound)
        try:
            await trio.serve_listeners(self._meet_safely, listeners)
        finally:
            self._bound = None

    def issue_ticket(self, link: LinkSpec) -> Ticket:
        """A ticket with which ``link.peer`` may open this link, once, soon.

        Raises:
            Refused: too many tickets are outstanding.
            StateError: ``serve`` is not running.
        """
        if self._bound is None:
            raise StateError("the tensor port is not open", hint="start the daemon's tensor listener first")
        self._identity = self._identity or Identity()
        offer = self._tickets.issue(link)
        self.counters["tickets_issued"] += 1
        return Ticket(offer.secret, self._identity.sha256, self._bound)

    async def accept(self, ticket: Ticket) -> Connection:
        """The connection that shows this ticket; a link must take it over or ``close`` it.

        Raises:
            TimedOut: nobody showed it before it expired.
        """
        offer = self._tickets.find(ticket.ticket)
        if offer is not None:
            with trio.move_on_at(offer.expires):
                await self._arrival(offer)
        if offer is None or offer.connection is None:
            raise TimedOut("the peer did not open its tensor link", hint="check that its tensor port is open")
        offer.claimed.set()
        return offer.connection

    def withdraw(self, ticket: Ticket) -> None:
        """Take a ticket back that nobody is going to show; no error if it was shown or has expired."""
        offer = self._tickets.find(ticket.ticket)
        if offer is not None:
            self._tickets.withdraw(offer)

    async def _arrival(self, offer: Offer) -> None:
        try:
            await offer.arrived.wait()
        finally:
            self._tickets.withdraw(offer)

    async def _meet_safely(self, stream: trio.SocketStream) -> None:
        try:
            await self._meet(stream)
        except Exception:  # noqa: BLE001  (the edge: no stranger may end the listener)
            self.counters["errors"] += 1
            _log.exception("a tensor connection failed")

    async def _meet(self, stream: trio.SocketStream) -> None:
        try:
            address = str(stream.socket.getpeername()[0])
            plain = detached(stream)
        except OSError:
            self.counters["garbage"] += 1
            await trio.aclose_forcefully(stream)
            return
        admitted = None
        with self._half_open.admit(address) as place, self._deadline() as deadline:
            admitted = await self._greet(plain)
        self.counters["half_open_evicted"] += place.cancelled_caught
        self.counters["greeting_timeouts"] += deadline.cancelled_caught
        if admitted is not None:
            await self._hand_over(*admitted)

    def _deadline(self) -> trio.CancelScope:
        return trio.move_on_after(self._limits.greeting_seconds)

    async def _greet(self, plain: socket.socket) -> tuple[Offer, Connection] | None:
        with ExitStack() as on_failure:
            on_failure.callback(plain.close)
            try:
                tls = await self._begin_tls(plain)
                on_failure.callback(tls.close)
                await when_ready(tls, tls.do_handshake)
                offer = self._tickets.redeem(await receive_exactly(tls, TICKET_BYTES))
                if offer is None:
                    self.counters["tickets_refused"] += 1
                    return None
                await send_all(tls, WELCOME)
            except (OSError, PeerLost):
                self.counters["garbage"] += 1
                return None
            on_failure.pop_all()
            return offer, Connection(tls, sends=offer.link.flow is Flow.TO_DIALLER)

    async def _begin_tls(self, plain: socket.socket) -> ssl.SSLSocket:
        """Cheapest checks first: most of what strangers send must cost no TLS state."""
        if self._identity is None or not self._tickets.outstanding:
            raise PeerLost("nobody was invited")
        await trio.lowlevel.wait_readable(plain)
        if plain.recv(1, socket.MSG_PEEK) != _TLS_HANDSHAKE:
            raise PeerLost("not TLS")
        context = self._identity.context
        return context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)

    async def _hand_over(self, offer: Offer, connection: Connection) -> None:
        offer.connection = connection
        offer.arrived.set()
        try:
            with trio.move_on_at(offer.expires):
                await offer.claimed.wait()
        finally:
            if not offer.claimed.is_set():
                offer.connection = None
                connection.close()
                self.counters["links_unclaimed"] += 1
