"""Proofs: two signatures of one key that no honest owner or member gives. Each proves itself to anybody.

Who is proven guilty is frozen: nobody votes for its entries any more, and its stake is burned.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, TypeAlias

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.protocols.ledger.entry import MAX_ENTRY_BYTES, open_entry, parse_entry
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, EntryVote, SignedVote, check_vote
from swarmd.protocols.records import from_value, to_value

MAX_PROOF_BYTES = 2 * MAX_ENTRY_BYTES + 256


@dataclass(frozen=True, slots=True)
class Fork:
    """Two entries of one account with one number, each signed by its owner."""

    TAG: ClassVar[str] = "fork"
    one: bytes
    other: bytes


@dataclass(frozen=True, slots=True)
class DoubleVote:
    """Two votes of one member in one committee that contradict each other.

    Two entries for one number of one account; a closing and a claim above it; or two different closings of one lane.
    Votes of two committees prove nothing: a member restored from a backup has lost votes, gives none in the committees
    it may have given them in, and in a later one is bound only by what others reported.
    """

    TAG: ClassVar[str] = "double_vote"
    one: SignedVote
    other: SignedVote


Proof: TypeAlias = Fork | DoubleVote


@dataclass(frozen=True, slots=True)
class _Envelope:
    proof: Fork | DoubleVote


def encode_proof(proof: Proof) -> bytes:
    """The wire form."""
    return encode(to_value(_Envelope(proof)))


def open_proof(raw: bytes, network: NetworkId) -> tuple[PeerId, Proof]:
    """The culprit and the proof, once both signatures hold and contradict. Raises ProtocolViolation."""
    culprit, proof = parse_proof(raw)
    check_proof(proof, network)
    return culprit, proof


def parse_proof(raw: bytes) -> tuple[PeerId, Proof]:
    """Whom a proof is against, and the proof; nothing in it is checked yet. Raises ProtocolViolation."""
    proof = from_value(_Envelope, decode(raw, limit=MAX_PROOF_BYTES)).proof
    if isinstance(proof, Fork):
        return parse_entry(proof.one)[0].account, proof
    return proof.one.member, proof


def check_proof(proof: Proof, network: NetworkId) -> None:
    """Raises ProtocolViolation unless both signatures hold and contradict each other."""
    if isinstance(proof, Fork):
        return _check_fork(proof, network)
    if not proves_guilt(proof.one, proof.other):
        raise ProtocolViolation("two votes that do not contradict each other")
    check_vote(proof.one, network)
    check_vote(proof.other, network)


def proves_guilt(one: SignedVote, other: SignedVote) -> bool:
    """Whether both votes are of one committee, and contradict: no honest member gives both, restored or not."""
    return one.vote.committee == other.vote.committee and contradict(one, other)


def contradict(one: SignedVote, other: SignedVote) -> bool:
    """Whether no honest member that knows its one vote gives the other; of two committees that is no proof."""
    if one.member != other.member:
        return False
    match one.vote, other.vote:
        case EntryVote() as a, EntryVote() as b:
            return (a.account, a.seq) == (b.account, b.seq) and a.entry != b.entry
        case CloseVote() as a, CloseVote() as b:
            lane = (a.committee, a.payer, a.lane)
            return lane == (b.committee, b.payer, b.lane) and a.highest != b.highest
        case (CloseVote() as a, ClaimVote() as b) | (ClaimVote() as b, CloseVote() as a):
            return (a.payer, a.lane) == (b.payer, b.lane) and b.total > a.highest
        case _:
            return False


def _check_fork(proof: Fork, network: NetworkId) -> None:
    one, other = open_entry(proof.one, network), open_entry(proof.other, network)
    if (one.entry.account, one.entry.seq) != (other.entry.account, other.entry.seq) or one.id == other.id:
        raise ProtocolViolation("two entries that are no fork")
