"""Whom a payment would go to: one mistyped character of a peer id may make another one that nobody has."""

from __future__ import annotations

from swarmd.protocols.control_credits import PayeeView
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.replica import Replica


def payee_view(peer: PeerId, us: PeerId, replica: Replica, name: str | None) -> PayeeView:
    """What this node knows of a receiver. ``name``: by its advert, empty without one; None: no such node is known."""
    seen = peer == us or name is not None or _has_account(peer, replica) or _was_paid(peer, us, replica)
    return PayeeView(peer=peer, name=name or "", seen=seen, us=peer == us)


def _has_account(peer: PeerId, replica: Replica) -> bool:
    genesis = replica.genesis
    named = {genesis.operator, *(grant.account for grant in genesis.grants), *replica.committee.peers}
    return replica.head(peer) is not None or peer in named


def _was_paid(peer: PeerId, us: PeerId, replica: Replica) -> bool:
    return any(total.peer == peer for total in replica.state(us).sent)
