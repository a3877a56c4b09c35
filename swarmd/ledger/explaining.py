"""An entry with everything it rests on: who voted, on what evidence, with every signature checked anew."""

from __future__ import annotations

import hashlib

from swarmd.ledger.proving import evidence_views, holds
from swarmd.ledger.selfdb import OwnEntry
from swarmd.ledger.standing import PendingEntry
from swarmd.ledger.views import history_line, state_before
from swarmd.protocols.canonical import decode
from swarmd.protocols.control_entries import EvidenceView, ExplainView, StateView, VoteView
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.protocols.ledger.account import AccountState, parse_state
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.entry import open_entry
from swarmd.protocols.ledger.genesis import Member
from swarmd.protocols.ledger.heads import MAX_HEAD_BYTES, CertifiedHead
from swarmd.protocols.ledger.messages import MAX_ANSWER_BYTES, Evidence
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.votes import Certificate, SignedVote, check_vote
from swarmd.protocols.records import from_value

NOT_NEEDED = "not needed: the others made the quorum"


def explain_view(
    own: OwnEntry,
    previous: OwnEntry | None,
    replica: Replica,
    pending: PendingEntry | None,
    behind: tuple[EvidenceView, ...],
) -> ExplainView:
    """An entry and all that it rests on; every signature is checked here. ``behind``: its vouchers and releases.

    Raises ProtocolViolation if the owner's signature on the kept entry does not hold.
    """
    before, after = state_before(own, previous, replica), parse_state(own.state)
    certificate = _certificate(own.head)
    committee = _committee(certificate, replica)
    votes = _cast(committee, certificate, replica.network) if certificate else _awaited(committee, pending)
    evidence = from_value(Evidence, decode(own.evidence, limit=MAX_ANSWER_BYTES)) if own.evidence else Evidence()
    signed = open_entry(own.raw, replica.network)
    return ExplainView(
        line=history_line(own, before, after, replica),
        prev=signed.entry.prev,
        before=_state_view(before) if before else None,
        after=_state_view(after),
        signed=signed.id == own.id,
        state_matches=hashlib.sha256(own.state).digest() == signed.entry.state_hash,
        committee=committee.number,
        weight=sum(vote.weight for vote in votes if vote.holds),
        quorum=committee.quorum,
        votes=votes,
        evidence=(*evidence_views(evidence, replica.network, replica.committees), *behind),
    )


def _state_view(state: AccountState) -> StateView:
    return StateView(balance=state.balance, locked=state.locked, bonded=state.bonded, unbonding=state.unbonding_total)


def _certificate(head: bytes) -> Certificate | None:
    return from_value(CertifiedHead, decode(head, limit=MAX_HEAD_BYTES)).certificate if head else None


def _committee(certificate: Certificate | None, replica: Replica) -> Committee:
    return replica.committees[certificate.vote.committee] if certificate else replica.committee


def _cast(committee: Committee, certificate: Certificate, network: NetworkId) -> tuple[VoteView, ...]:
    cast = {vote.member: vote for vote in certificate.votes}
    return tuple(_ballot(member, cast.get(member.peer), network) for member in committee.members)


def _ballot(member: Member, vote: SignedVote | None, network: NetworkId) -> VoteView:
    if vote is None:
        return VoteView(member=member.peer, weight=member.weight, voted=False, holds=False, reason=NOT_NEEDED)
    genuine = holds(lambda: check_vote(vote, network))
    return VoteView(member=member.peer, weight=member.weight, voted=True, holds=genuine, reason="")


def _awaited(committee: Committee, pending: PendingEntry | None) -> tuple[VoteView, ...]:
    reasons = dict[PeerId, str](pending.reasons) if pending else {member.peer: "" for member in committee.members}
    return tuple(
        VoteView(
            member=member.peer,
            weight=member.weight,
            voted=member.peer not in reasons,
            holds=member.peer not in reasons,
            reason=reasons.get(member.peer, ""),
        )
        for member in committee.members
    )
