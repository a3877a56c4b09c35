"""A committee member's votes: decided by the pure rules, on disk before they leave.

What was voted is never taken back: asked again, the member gives the same vote. A second entry of one number
by one owner is answered with a proof against it, which everybody gets.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarmd.ledger.gate import Gate
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.owners import may_write
from swarmd.ledger.verify import holds
from swarmd.protocols.errors import NotYet, Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState, parse_state
from swarmd.protocols.ledger.entry import SignedEntry, open_entry
from swarmd.protocols.ledger.messages import AskClaimVote, AskCloseVote, AskEntryVote, AskMaturityVote, Voted
from swarmd.protocols.ledger.proofs import Fork
from swarmd.protocols.ledger.validator import decide_claim, decide_close, decide_entry, decide_maturity
from swarmd.protocols.ledger.votes import (
    Certificate,
    ClaimVote,
    CloseCertificate,
    EntryVote,
    SignedVote,
    Vote,
    sign_vote,
)
from swarmd.protocols.ledger.vouchers import open_voucher
from swarmd.protocols.pacing import RateLimit

MAX_ACCOUNTS_PACED = 10_000
MAX_WATCHED_VOTES = 64
"""Of one request's evidence."""
MAX_TOUCHED = 10_000


class Voter:
    """Answers Ask* for this node. ``ready`` is False while it takes over from a former committee."""

    def __init__(self, keeper: Keeper) -> None:
        limits = keeper.deps.genesis.limits
        self.gate = Gate()
        self.behind: Callable[[PeerId], None] = lambda peer: None
        """Told of peers that may know a newer committee than we do."""
        self.ready = True
        self.handed_over = -1
        """The highest committee that we handed over; set before its hand-over leaves."""
        self._keeper, self._deps = keeper, keeper.deps
        self._store = keeper.deps.self_store
        self._paced: RateLimit[PeerId] | None = None
        if limits.entry_seconds:
            self._paced = RateLimit(1 / limits.entry_seconds, limits.entry_burst, MAX_ACCOUNTS_PACED)
        self._thread = trio.CapacityLimiter(1)
        self._touched: set[PeerId] = set()

    async def answer(self, peer: PeerId, ask: AskEntryVote | AskClaimVote | AskCloseVote | AskMaturityVote) -> Voted:
        """Our vote. Raises Refused, NotYet, ProtocolViolation with the reason, or StateError."""
        if self._keeper.account not in self._keeper.replica.committee.peers:
            self.behind(peer)  # who asks us may know of a committee that we are in
        if not self.ready:
            raise NotYet("it takes over from the former committee, and votes when it has every report")
        match ask:
            case AskEntryVote():
                vote = await self._entry(ask)
            case AskClaimVote():
                vote = await self._claim(ask)
            case AskCloseVote():
                vote = await self._close(ask)
            case AskMaturityVote():
                vote = await self._maturity(ask)
        self._keeper.counters["votes_given"] += 1
        return Voted(vote)

    async def tidy(self) -> None:
        """Now and then drop votes that certified heads have overtaken, for ever: disk grows with accounts only."""
        while True:
            await trio.sleep(self._deps.settings.look_every)
            touched, self._touched = self._touched, set()
            for account in sorted(touched):
                await self._store.forget(account, self._keeper.replica.seq(account))
                await self._store.forget_lanes(account, self._keeper.replica.state(account))

    def _touch(self, account: PeerId) -> None:
        if len(self._touched) < MAX_TOUCHED:
            self._touched.add(account)

    async def _entry(self, ask: AskEntryVote) -> SignedVote:
        signed, state = await trio.to_thread.run_sync(self._read, ask, limiter=self._thread)
        entry, committee = signed.entry, self._keeper.replica.committee.number
        earlier = await self._earlier(entry.account, entry.seq)
        reported = await self._store.inherited_newest(entry.account)
        for head in ask.evidence.heads:
            await self._take(head)
        await self._note(signed, earlier)
        async with self.gate.passing():
            vote = await trio.to_thread.run_sync(
                lambda: decide_entry(
                    self._keeper.replica,
                    self._keeper.account,
                    earlier,
                    signed,
                    state,
                    ask.evidence,
                    reported=reported,
                    handed_over=self.handed_over,
                ),
                limiter=self._thread,
            )
            if vote.committee != committee:  # what we took over since may bind us to another entry
                raise NotYet("the committee has just changed")
            if earlier is None:
                self._pace(entry.account)
            stands = await self._store.cast_entry(self._sign(vote), signed.raw)
        await self._watch(ask)
        if isinstance(stands.vote, EntryVote) and stands.vote.entry != signed.id:
            raise Refused(f"another entry {entry.seq} of this account was voted for")
        self._touch(entry.account)
        return stands

    async def _claim(self, ask: AskClaimVote) -> SignedVote:
        voucher = open_voucher(ask.voucher, self._keeper.replica.network)
        if ask.head:
            await self._take(ask.head)
        async with self.gate.passing():
            replica, payer, lane = self._keeper.replica, voucher.payer, voucher.lane
            vote = decide_claim(
                replica,
                self._keeper.account,
                await self._store.lane_mark(payer, lane),
                voucher,
                self._deps.clock(),
                claimable=await self._store.claimable(payer, lane, replica.committee.number),
                handed_over=self.handed_over,
            )
            self._touch(voucher.payer)
            return await self._store.cast_claim(self._sign(vote), ask.voucher)

    async def _close(self, ask: AskCloseVote) -> SignedVote:
        replica, us = self._keeper.replica, self._keeper.account
        async with self.gate.passing():
            mark = await self._store.lane_mark(ask.payer, ask.lane)
            vote = decide_close(replica, us, mark, ask, self._deps.clock(), handed_over=self.handed_over)
            if vote.highest > (mark.highest if mark else 0) and not (mark and mark.closed):
                # the release counts as a claim of its total, and comes with the voucher for it
                claim = ClaimVote(vote.committee, ask.payer, ask.lane, vote.highest)
                await self._store.cast_claim(self._sign(claim), ask.voucher)
            self._touch(ask.payer)
            return await self._store.cast_close(self._sign(vote), ask.release)

    async def _maturity(self, ask: AskMaturityVote) -> SignedVote:
        seen = self._keeper.first_seen.get(ask.account, {}).get(ask.seq)
        async with self.gate.passing():
            vote = decide_maturity(
                self._keeper.replica,
                self._keeper.account,
                ask.account,
                ask.seq,
                seen,
                self._deps.clock(),
                handed_over=self.handed_over,
            )
            return await self._store.cast_maturity(self._sign(vote))

    async def _earlier(self, account: PeerId, seq: int) -> EntryVote | None:
        """What we voted for this number, in whatever committee, or what former members bind us to."""
        cast = await self._store.entry_vote(account, seq)
        if cast is not None and isinstance(cast.vote, EntryVote):
            return cast.vote
        if self._keeper.replica.committee.number == 0:
            return None
        inherited = await self._store.inherited_entry(account, seq)
        return EntryVote(-1, account, seq, inherited) if inherited is not None else None

    async def _note(self, signed: SignedEntry, earlier: EntryVote | None) -> None:
        """Whether its owner signed another entry of this number, as far as it is known here."""
        entry = signed.entry
        replica = self._keeper.replica
        fork = self._keeper.pool.offer(signed, trio.current_time()) if may_write(replica, entry) else None
        head = replica.head(entry.account)
        if head is not None and head.signed.entry.seq == entry.seq and head.signed.id != signed.id:
            fork = Fork(head.signed.raw, signed.raw)
        elif earlier is not None and earlier.entry != signed.id:
            cast = await self._store.voted_entry(entry.account, entry.seq)
            fork = Fork(cast, signed.raw) if cast is not None else fork
        if fork is not None:
            await self._keeper.accuse(fork)
            raise Refused(f"two entries {entry.seq} of this account are signed: its owner is frozen by that proof")

    async def _take(self, head: bytes) -> None:
        try:
            await self._keeper.take_head(head)
        except NotYet:
            self._keeper.counters["heads_of_later_committees"] += 1

    async def _watch(self, ask: AskEntryVote) -> None:
        evidence = ask.evidence
        given: tuple[Certificate | CloseCertificate, ...] = (*evidence.claims, *evidence.closes)
        votes = [vote for certificate in given for vote in certificate.votes]
        if votes:
            held = await trio.to_thread.run_sync(self._that_hold, votes[:MAX_WATCHED_VOTES], limiter=self._thread)
            await self._keeper.accuse(*self._keeper.watch.note(held))

    def _that_hold(self, votes: list[SignedVote]) -> list[SignedVote]:
        return [vote for vote in votes if holds(vote, self._keeper.replica.network)]

    def _pace(self, account: PeerId) -> None:
        if self._paced is not None and not self._paced.allow(account, trio.current_time()):
            limit = self._deps.genesis.limits.entry_seconds
            raise NotYet(f"this account writes faster than one entry in {limit} s; it is voted for later")

    def _sign(self, vote: Vote) -> SignedVote:
        return sign_vote(vote, self._keeper.replica.network, self._keeper.account, self._deps.identity.sign)

    def _read(self, ask: AskEntryVote) -> tuple[SignedEntry, AccountState]:
        return open_entry(ask.entry, self._keeper.replica.network), parse_state(ask.state)
