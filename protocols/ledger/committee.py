"""Committees: whose votes certify, and how the operator's key leads from one to the next."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, tagged_hash
from swarmd.protocols.ledger.genesis import Genesis, Member, check_members
from swarmd.protocols.ledger.votes import Certificate, CloseCertificate, check_votes
from swarmd.protocols.records import to_value


@dataclass(frozen=True, slots=True)
class Committee:
    """The members of one number; 0 is the genesis's."""

    number: int
    members: tuple[Member, ...]
    """Sorted by peer."""

    def __post_init__(self) -> None:
        if not 0 <= self.number < 1 << 32:
            raise ValueError("an impossible committee number")
        check_members(self.members)

    @property
    def weight(self) -> int:
        """Of all members."""
        return sum(member.weight for member in self.members)

    @property
    def quorum(self) -> int:
        """The weight that certifies: floor(2 W / 3) + 1 (FastPay, arXiv 2003.11506)."""
        return 2 * self.weight // 3 + 1

    @property
    def peers(self) -> tuple[PeerId, ...]:
        """Who the members are."""
        return tuple(member.peer for member in self.members)

    @property
    def hash(self) -> bytes:
        """What the next committee's change names as the one before."""
        return bytes.fromhex(tagged_hash("swarmd/committee/1", to_value(self)))

    def weight_of(self, peers: Iterable[PeerId]) -> int:
        """The weight of those of the peers that are members."""
        among = frozenset(peers)
        return sum(member.weight for member in self.members if member.peer in among)

    def has_quorum(self, peers: Iterable[PeerId]) -> bool:
        """Whether these peers together certify."""
        return bool(self.members) and self.weight_of(peers) >= self.quorum


def first_committee(genesis: Genesis) -> Committee:
    """Committee 0."""
    return Committee(0, genesis.committee)


def check_certificate(
    certificate: Certificate | CloseCertificate, committees: tuple[Committee, ...], network: NetworkId
) -> None:
    """Raises as said below unless a quorum of the committee it names signed. ``committees[n]`` has number n.

    Raises:
        ProtocolViolation: it does not hold.
        NotYet: the committee is newer than those known here.
    """
    votes = certificate.votes
    number = votes[0].vote.committee
    if number >= len(committees):
        raise NotYet(f"committee {number} is not known here yet")
    committee = committees[max(number, 0)]
    if number < 0 or not {vote.member for vote in votes}.issubset(committee.peers):
        raise ProtocolViolation("a vote of a peer that is no member of the committee it names")
    if not committee.has_quorum(vote.member for vote in votes):
        raise ProtocolViolation("a certificate without a quorum")
    check_votes(votes, network)
