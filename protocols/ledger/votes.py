"""Votes of a committee's members, and certificates: votes of more than two thirds of its weight."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import groupby
from typing import ClassVar, TypeAlias

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import EntryId, NetworkId, PeerId
from swarmd.protocols.ledger.amounts import check_amounts
from swarmd.protocols.ledger.genesis import MAX_MEMBERS
from swarmd.protocols.records import to_value
from swarmd.protocols.signing import Sign, Signed, check_signature, sign

VOTE_TAG = "swarmd/vote/1"
"""Of every kind: the kind's own TAG is in what is signed."""


@dataclass(frozen=True, slots=True)
class EntryVote:
    """This is the entry of this account at this number; the member votes for no other."""

    TAG: ClassVar[str] = "entry"
    committee: int
    account: PeerId
    seq: int
    entry: EntryId


@dataclass(frozen=True, slots=True)
class ClaimVote:
    """The lane is open, and its provider holds the payer's voucher for this total."""

    TAG: ClassVar[str] = "claim"
    committee: int
    payer: PeerId
    lane: int
    total: int

    def __post_init__(self) -> None:
        check_amounts(self.total)


@dataclass(frozen=True, slots=True)
class CloseVote:
    """The lane is closed: the member has voted for no claim above ``highest``, and never will."""

    TAG: ClassVar[str] = "close"
    committee: int
    payer: PeerId
    lane: int
    highest: int

    def __post_init__(self) -> None:
        check_amounts(self.highest, least=0)


@dataclass(frozen=True, slots=True)
class MaturityVote:
    """The cooldown of what this entry unstaked is over by the member's own clock."""

    TAG: ClassVar[str] = "maturity"
    committee: int
    account: PeerId
    seq: int


Vote: TypeAlias = EntryVote | ClaimVote | CloseVote | MaturityVote


@dataclass(frozen=True, slots=True)
class SignedVote:
    """A vote and the member that gave it; the signature is not yet checked."""

    vote: Vote
    member: PeerId
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.signature) != 64:
            raise ValueError("a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class Ballot:
    """One member's signature under a vote that others signed too."""

    member: PeerId
    signature: bytes

    def __post_init__(self) -> None:
        if len(self.signature) != 64:
            raise ValueError("a signature has 64 bytes")


@dataclass(frozen=True, slots=True)
class Certificate:
    """One vote, signed by many."""

    vote: EntryVote | ClaimVote | MaturityVote
    ballots: tuple[Ballot, ...]
    """By member, sorted."""

    def __post_init__(self) -> None:
        _check_order([ballot.member for ballot in self.ballots])

    @property
    def votes(self) -> tuple[SignedVote, ...]:
        """Each member's vote."""
        return tuple(SignedVote(self.vote, ballot.member, ballot.signature) for ballot in self.ballots)


@dataclass(frozen=True, slots=True)
class CloseCertificate:
    """Many members' close votes on one lane, which may differ in ``highest``."""

    votes: tuple[SignedVote, ...]
    """By member, sorted."""

    def __post_init__(self) -> None:
        _check_order([vote.member for vote in self.votes])
        lanes = {(v.vote.committee, v.vote.payer, v.vote.lane) for v in self.votes if isinstance(v.vote, CloseVote)}
        if len(lanes) != 1 or not all(isinstance(vote.vote, CloseVote) for vote in self.votes):
            raise ValueError("a close certificate holds close votes of one committee on one lane")

    @property
    def paid(self) -> int:
        """What the provider keeps, if the lane holds as much: the highest claim any of the members voted for."""
        return max(vote.vote.highest for vote in self.votes if isinstance(vote.vote, CloseVote))


def sign_vote(vote: Vote, network: NetworkId, member: PeerId, key: Sign) -> SignedVote:
    """A member's vote."""
    return SignedVote(vote, member, sign(VOTE_TAG, network, member, key, to_value(vote)).signature)


def check_vote(vote: SignedVote, network: NetworkId) -> None:
    """Raises ProtocolViolation unless the member signed this vote on this network."""
    check_votes((vote,), network)


def check_votes(votes: tuple[SignedVote, ...], network: NetworkId) -> None:
    """Raises ProtocolViolation unless each member signed its vote on this network."""
    for vote, equal in groupby(votes, key=lambda each: each.vote):
        body = encode(to_value(vote))
        for each in equal:
            check_signature(VOTE_TAG, network, Signed(each.member, body, each.signature))


def certificate_of(votes: tuple[SignedVote, ...]) -> Certificate:
    """Equal votes of different members as one certificate. Raises ProtocolViolation if they differ."""
    first = votes[0].vote if votes else None
    if first is None or isinstance(first, CloseVote) or any(vote.vote != first for vote in votes):
        raise ProtocolViolation("a certificate holds equal votes")
    ballots = {vote.member: Ballot(vote.member, vote.signature) for vote in votes}
    return Certificate(first, tuple(ballots[member] for member in sorted(ballots)))


def _check_order(members: list[PeerId]) -> None:
    if not 1 <= len(members) <= MAX_MEMBERS or members != sorted(set(members)):
        raise ValueError(f"a certificate has the votes of 1 to {MAX_MEMBERS} members, sorted, one of each")
