"""Which members' closings a payer settles its lane by.

A settlement pays the highest claim that any of its closings names. A member that lies could name all that the lane
holds, and be always the first to answer. So a payer takes no closing above what it signed for, while others do.
"""

from __future__ import annotations

from swarmd.ledger.ballots import Ballots
from swarmd.ledger.collect import ANOTHER_VOTE
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import MAX_AMOUNT
from swarmd.protocols.ledger.votes import CloseVote, Vote

PATIENT_ROUNDS = 60
"""Of asking, when too few members close the lane at what we know; an hour, as rounds come slower and slower."""


class FairClosings:
    """Closings of one lane of ours, which we signed for ``most`` micro-credits of, by our own files.

    Those may be older than what the committee has seen (the newest minute goes with a power cut). More than a third of
    the weight, or long patience without them, shows that.
    """

    def __init__(self, account: PeerId, lane: int, most: int) -> None:
        self._lane = account, lane
        self._most = most
        self._rounds = 0

    def fits(self, vote: Vote) -> bool:
        """Whether to settle by this vote."""
        return isinstance(vote, CloseVote) and (vote.payer, vote.lane) == self._lane and vote.highest <= self._most

    def heard(self, ballots: Ballots) -> None:
        """A round is over."""
        committee = ballots.committee
        above = [member for member, reason in ballots.reasons.items() if reason == ANOTHER_VOTE]
        if committee.has_quorum((*ballots.votes, *above)):
            self._rounds += 1
        if 3 * committee.weight_of(above) > committee.weight or self._rounds > PATIENT_ROUNDS:
            self._most = MAX_AMOUNT
