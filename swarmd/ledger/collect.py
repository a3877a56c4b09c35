"""Gathering the committee's votes: every member asked at once, and whoever is slow is not waited for.

A round ends as soon as the votes certify, or when every member has answered or timed out. Votes are kept from
round to round, and rounds go on with growing pauses for as long as the caller wants to know.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import TypeAlias

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.ballots import Ballots
from swarmd.ledger.keeper import Keeper
from swarmd.protocols.errors import NotYet, PeerLost, ProtocolViolation, Refused, RemoteError, SwarmdError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.messages import AskClaimVote, AskCloseVote, AskEntryVote, AskMaturityVote, Voted
from swarmd.protocols.ledger.votes import SignedVote, Vote, check_vote

_LOG = logging.getLogger(__name__)

Ask: TypeAlias = AskEntryVote | AskClaimVote | AskCloseVote | AskMaturityVote
AskHere: TypeAlias = Callable[[PeerId, Ask], Awaitable[Voted]]
Fits: TypeAlias = Callable[[Vote], bool]
"""Whether a vote is on what was asked; its committee's number is compared anyway."""
ANOTHER_VOTE = "it answered with another vote than was asked for"


class Collector:
    """Asks members for votes. ``ask_here`` answers for this node where it is a member itself."""

    def __init__(self, keeper: Keeper, asking: Asking, ask_here: AskHere) -> None:
        self._keeper, self._asking, self._ask_here = keeper, asking, ask_here
        self._nudged = trio.Event()
        keeper.on_succession = self.nudge

    @property
    def nudged(self) -> trio.Event:
        """The next reason to ask again. Take it before a round: what happens during the round counts."""
        return self._nudged

    def nudge(self) -> None:
        """A member came back, or something else gives reason to ask again now."""
        self._nudged.set()
        self._nudged = trio.Event()

    async def certify(
        self, ask: Callable[[], Ask], fits: Fits, progress: Callable[[Ballots], None] | None = None
    ) -> Ballots:
        """A quorum of votes, however long it takes. ``progress`` is told after every round.

        Raises:
            Refused: so many members said never that no quorum can come.
        """
        ballots = Ballots(self._keeper.replica.committee)
        while True:
            nudged = self._nudged
            await self.round(ask(), fits, ballots)
            if progress is not None:
                progress(ballots)
            if ballots.certified:
                return ballots
            if ballots.hopeless:
                raise Refused(ballots.words())
            await self.pause(ballots.rounds, nudged)
            if self._keeper.replica.committee.number != ballots.committee.number:
                ballots = Ballots(self._keeper.replica.committee)

    async def pause(self, rounds: int, nudged: trio.Event) -> None:
        """Wait before the next round; less if there is a reason to ask at once, or was since ``nudged`` was taken."""
        with trio.move_on_after(self._keeper.deps.settings.retry.after(rounds)):
            await nudged.wait()

    async def round(self, ask: Ask, fits: Fits, ballots: Ballots) -> None:
        """Ask every member that has not voted, once."""
        ballots.rounds += 1
        ballots.reasons.clear()
        ballots.refused.clear()
        ballots.silent.clear()
        async with trio.open_nursery() as nursery:
            for member in ballots.missing():
                nursery.start_soon(self._ask_one, member, ask, fits, ballots, nursery.cancel_scope)

    async def _ask_one(self, member: PeerId, ask: Ask, fits: Fits, ballots: Ballots, scope: trio.CancelScope) -> None:
        try:
            vote = await self._vote_of(member, ask)
            self._check(vote, member, fits, ballots.committee.number)
        except SwarmdError as error:
            self._note(member, error, ballots)
        except Exception:  # noqa: BLE001 - the edge of what deals with one member
            ballots.silent.add(member)
            ballots.reasons[member] = "its answer could not be read"
            _LOG.exception("asking a committee member")
        else:
            ballots.votes[member] = vote
            if ballots.certified:
                scope.cancel()

    async def _vote_of(self, member: PeerId, ask: Ask) -> SignedVote:
        if member == self._keeper.account:
            return (await self._ask_here(member, ask)).vote
        return (await self._asking.member(member, ask, Voted)).vote

    def _check(self, vote: SignedVote, member: PeerId, fits: Fits, committee: int) -> None:
        if vote.member != member or not fits(vote.vote):
            raise ProtocolViolation(ANOTHER_VOTE)
        if vote.vote.committee != committee:
            raise NotYet(f"it votes in committee {vote.vote.committee}, not in {committee}")
        check_vote(vote, self._keeper.replica.network)

    def _note(self, member: PeerId, error: SwarmdError, ballots: Ballots) -> None:
        ballots.reasons[member] = error.message
        if isinstance(error, PeerLost):
            ballots.silent.add(member)
        elif isinstance(error, Refused) and not isinstance(error, NotYet):
            ballots.refused.add(member)
        elif isinstance(error, RemoteError):
            self._keeper.counters["members_unhelpful"] += 1
