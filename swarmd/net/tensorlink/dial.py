"""Opening a link to a peer whose ticket we hold."""

from __future__ import annotations

from contextlib import ExitStack
from hmac import compare_digest
from ssl import SSLSocket

import trio

from swarmd.net.tensorlink.certificate import certificate_hash, client_context
from swarmd.net.tensorlink.connection import Connection, detached, receive_exactly, send_all, when_ready
from swarmd.net.tensorlink.listener import WELCOME
from swarmd.net.tensorlink.tickets import Flow, LinkSpec, Ticket
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused, TimedOut


async def dial_link(host: str, ticket: Ticket, link: LinkSpec, *, seconds: float = 10.0) -> Connection:
    """Connect to the ticket's port on ``host`` and show the ticket; a link takes the connection over.

    Raises:
        ProtocolViolation: another certificate answers; it has not seen the ticket.
        Refused: the ticket is not taken.
        PeerLost: nobody answers there, or the connection breaks.
        TimedOut: ``seconds`` are over.
    """
    with trio.move_on_after(seconds):
        try:
            return await _dial(host, ticket, link)
        except OSError as error:
            raise PeerLost(
                f"no tensor link to {host} port {ticket.port}: {error}",
                hint="ask the peer for a new ticket, and check that its tensor port can be reached",
            ) from error
    raise TimedOut(
        f"{host} port {ticket.port} opened no tensor link within {seconds:g} s",
        hint="check that the peer's tensor port can be reached from here",
    )


async def _dial(host: str, ticket: Ticket, link: LinkSpec) -> Connection:
    stream = await trio.open_tcp_stream(host, ticket.port)
    with ExitStack() as on_failure:
        plain = detached(stream)
        on_failure.callback(plain.close)
        tls = client_context().wrap_socket(plain, do_handshake_on_connect=False)
        on_failure.callback(tls.close)
        await _introduce(tls, ticket)
        on_failure.pop_all()
        return Connection(tls, sends=link.flow is Flow.TO_LISTENER)


async def _introduce(tls: SSLSocket, ticket: Ticket) -> None:
    await when_ready(tls, tls.do_handshake)
    if not compare_digest(certificate_hash(tls), ticket.certificate_sha256):
        raise ProtocolViolation(
            "the tensor port has another certificate than the peer promised",
            hint="somebody between us and the peer answers in its place, or the peer has restarted",
        )
    await send_all(tls, ticket.ticket)
    try:
        answer = await receive_exactly(tls, len(WELCOME))
    except (PeerLost, OSError) as error:
        raise Refused("the peer did not take our ticket", hint="ask it for a new one") from error
    if answer != WELCOME:
        raise ProtocolViolation("the tensor port answers a ticket with something else")
