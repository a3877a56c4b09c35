"""Whom ``wallet pay`` pays: said by name before it happens, and not at all where the id may be mistyped."""

from __future__ import annotations

from swarmd.cli import answers, units
from swarmd.cli.session import Session
from swarmd.protocols.control_credits import PayeeView
from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId, public_key_of


def find(session: Session, peer: str) -> PayeeView:
    """What the daemon knows of a receiver. Raises UsageError for a text that is no peer id, and for our own."""
    try:
        public_key_of(PeerId(peer))
    except ProtocolViolation as error:
        raise UsageError(
            f"{peer[:80]!r} is no peer id, which has some 52 characters and begins with 12D3Koo",
            hint="swarmd peers --json has those of the nodes known here; on that machine: swarmd id",
        ) from error
    payee = answers.payee(session.ask("payee", peer=peer))
    if payee.us:
        raise UsageError("this is the peer id of this node itself", hint="on the receiver's machine: swarmd id")
    return payee


def shown(payee: PayeeView) -> str:
    """A receiver as people know it."""
    short = units.short_id(payee.peer)
    return f"{payee.name} ({short})" if payee.name else short


def question(payee: PayeeView, sum_: str) -> str:
    """What is asked before a payment of ``sum_``."""
    asked = f"pay {sum_} to {shown(payee)}, whose peer id is {payee.peer}? It cannot be taken back."
    return (
        asked
        if payee.seen
        else f"No node or account of the peer id {payee.peer} was ever seen here. Pay {sum_}"
        " to it all the same? If the id is mistyped, nobody can ever use or return them."
    )


def never_seen(peer: str, amount: str) -> UsageError:
    """Why nothing is paid where nobody can be asked."""
    return UsageError(
        f"no node or account of the peer id {peer} was ever seen here: is it mistyped?",
        hint=f"if it is right: swarmd wallet pay {peer} {amount} --unseen",
    )
