"""Checks that take long enough to be done in a worker thread. They read the replica and change nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import NetworkId
from swarmd.protocols.ledger.heads import Head, check_head, parse_head, trust_head
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.votes import SignedVote, check_vote


@dataclass(frozen=True, slots=True)
class Rival:
    """A certified head of the same number as ours, and another entry: more than its owner lied."""

    head: Head


Checked: TypeAlias = Head | Rival | ProtocolViolation | NotYet | None
"""A newer head, or a rival; one that no honest peer sends; of a committee not known here; None: not newer."""


def check_heads(raws: tuple[bytes, ...], replica: Replica) -> tuple[Checked, ...]:
    """Check each head; signatures of those that are not newer are not looked at."""
    return tuple(_check_head(raw, replica) for raw in raws)


def read_heads(raws: tuple[bytes, ...], replica: Replica) -> tuple[Checked, ...]:
    """Read heads from our own disk, which were checked before they went there."""
    return tuple(_read_head(raw, replica.network) for raw in raws)


def holds(vote: SignedVote, network: NetworkId) -> bool:
    """Whether a vote's signature holds."""
    try:
        check_vote(vote, network)
    except ProtocolViolation:
        return False
    return True


def _check_head(raw: bytes, replica: Replica) -> Checked:
    try:
        head = parse_head(raw)
        known = replica.head(head.entry.account)
        if known is None or known.signed.entry.seq < head.entry.seq:
            return check_head(head, replica.network, replica.committees)
        if known.signed.entry.seq == head.entry.seq and known.signed.raw != head.parts.entry:
            return _rival(known, check_head(head, replica.network, replica.committees))
        return None
    except (ProtocolViolation, NotYet) as error:
        return error


def _rival(known: Head, head: Head) -> Rival | None:
    return Rival(head) if head.signed.id != known.signed.id else None


def _read_head(raw: bytes, network: NetworkId) -> Checked:
    try:
        return trust_head(raw, network)
    except ProtocolViolation as error:
        return error
