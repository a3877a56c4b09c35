"""Successions: checking that a committee follows another, by the operator's word and the old members' handovers."""

from __future__ import annotations

from swarmd.protocols.canonical import decode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.handover import (
    MAX_CHANGE_BYTES,
    CommitteeChange,
    Succession,
    change_id,
    check_handover,
    open_change,
)
from swarmd.protocols.records import from_value
from swarmd.protocols.signing import parse_signed


def committee_after(succession: Succession) -> Committee:
    """The committee a succession leads to; no signature is checked. Raises ProtocolViolation if it is malformed."""
    body = parse_signed(succession.change, limit=MAX_CHANGE_BYTES).body
    change = from_value(CommitteeChange, decode(body, limit=MAX_CHANGE_BYTES))
    return Committee(change.number, change.members)


def check_succession(succession: Succession, network: NetworkId, operator: PeerId, before: Committee) -> None:
    """Raises ProtocolViolation unless the operator named the committee and a quorum of ``before`` handed over to it."""
    change = open_change(succession.change, network, operator)
    if change.number != before.number + 1 or change.previous != before.hash:
        raise ProtocolViolation("a committee change that does not follow the committee before it")
    name, members = change_id(succession.change, network), frozenset(before.peers)
    if any(each.change != name or each.member not in members for each in succession.handovers):
        raise ProtocolViolation("a handover to another change, or by a peer that is no member")
    if not before.has_quorum(each.member for each in succession.handovers):
        raise ProtocolViolation("a committee change without handovers of a quorum")
    for each in succession.handovers:
        check_handover(each, network)
