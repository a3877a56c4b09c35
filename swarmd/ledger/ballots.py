"""The votes on one question so far, and in words why there are not more."""

from __future__ import annotations

from dataclasses import dataclass, field

from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.votes import SignedVote


@dataclass(slots=True)
class Ballots:
    """Bounded by the committee's size."""

    committee: Committee
    votes: dict[PeerId, SignedVote] = field(default_factory=dict[PeerId, SignedVote])
    reasons: dict[PeerId, str] = field(default_factory=dict[PeerId, str])
    """Of each member that was asked last round and did not vote."""
    refused: set[PeerId] = field(default_factory=set[PeerId])
    """Those of them that said never ..."""
    silent: set[PeerId] = field(default_factory=set[PeerId])
    """... and those that gave no answer."""
    rounds: int = 0

    @property
    def weight(self) -> int:
        """Of the votes."""
        return self.committee.weight_of(self.votes)

    @property
    def certified(self) -> bool:
        """Whether they are a quorum."""
        return self.committee.has_quorum(self.votes)

    @property
    def hopeless(self) -> bool:
        """Whether so many said never that no quorum can come."""
        return self.committee.weight - self.committee.weight_of(self.refused) < self.committee.quorum

    def missing(self) -> tuple[PeerId, ...]:
        """Members that have not voted."""
        return tuple(peer for peer in self.committee.peers if peer not in self.votes)

    def in_order(self) -> tuple[SignedVote, ...]:
        """The votes by member."""
        return tuple(self.votes[member] for member in sorted(self.votes))

    def words(self) -> str:
        """Such as "2 of 4 committee members answer; 3 are needed", and the first reason that one gave."""
        total = len(self.committee.members)
        said = f"{total - len(self.silent)} of {total} committee members answer; {self._needed()}"
        given = [reason for peer, reason in sorted(self.reasons.items()) if peer not in self.silent]
        return f"{said}. One says: {given[0]}" if given else said

    def _needed(self) -> str:
        weights = {member.weight for member in self.committee.members}
        if len(weights) > 1:
            return f"votes of weight {self.committee.quorum} of {self.committee.weight} are needed"
        needed = -(-self.committee.quorum // weights.pop())
        return "1 is needed" if needed == 1 else f"{needed} are needed"
