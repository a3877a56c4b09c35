"""The three topics: entries on their way, certified heads, proofs. What is new is taken in and passed on.

A message is rejected only if no honest peer sends it: bytes that are no such thing, or a signature that does not
hold. What is known, too old, too much, or not ours to judge yet, is just not passed on.
"""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarmd.ledger.keeper import Keeper
from swarmd.ledger.owners import may_write
from swarmd.ledger.topics import topic
from swarmd.net.transport import Judge, Verdict
from swarmd.protocols.errors import NotYet, ProtocolViolation, StateError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.entry import Entry, SignedEntry, open_entry
from swarmd.protocols.ledger.proofs import Fork
from swarmd.protocols.pacing import RateLimit

MAX_ACCOUNTS_PACED = 10_000


class GossipDesk:
    """Judges what comes. ``behind`` is told of peers that know a newer committee."""

    def __init__(self, keeper: Keeper, behind: Callable[[PeerId], None]) -> None:
        limits = keeper.deps.genesis.limits
        self._keeper, self._behind = keeper, behind
        self._thread = trio.CapacityLimiter(1)
        self._paced: RateLimit[PeerId] | None = None
        if limits.entry_seconds:
            self._paced = RateLimit(1 / limits.entry_seconds, limits.entry_burst, MAX_ACCOUNTS_PACED)

    def subscribe(self) -> None:
        """Take part from now on."""
        judges: dict[str, Judge] = {"entry": self._entry, "head": self._head, "proof": self._proof}
        for name, judge in judges.items():
            self._keeper.deps.gossip.subscribe(topic(self._keeper.replica.network, name), self._counted(name, judge))

    def _counted(self, name: str, judge: Judge) -> Judge:
        async def counted(peer: PeerId, raw: bytes) -> Verdict:
            try:
                verdict = await judge(peer, raw)
            except ProtocolViolation:
                verdict = Verdict.REJECT
            except StateError:  # our own disk fails: the message may be good
                verdict = Verdict.IGNORE
            self._keeper.counters[f"gossip_{name}_{verdict.value}"] += 1
            return verdict

        return counted

    async def _head(self, peer: PeerId, raw: bytes) -> Verdict:
        try:
            newer = await self._keeper.take_head(raw)
        except NotYet:
            self._behind(peer)
            return Verdict.IGNORE
        return Verdict.IGNORE if newer is None else Verdict.ACCEPT

    async def _proof(self, peer: PeerId, raw: bytes) -> Verdict:
        del peer
        return Verdict.IGNORE if await self._keeper.take_proof(raw) is None else Verdict.ACCEPT

    async def _entry(self, peer: PeerId, raw: bytes) -> Verdict:
        del peer
        signed = await trio.to_thread.run_sync(open_entry, raw, self._keeper.replica.network, limiter=self._thread)
        entry = signed.entry
        if not may_write(self._keeper.replica, entry) or not self._in_time(entry.account):
            return Verdict.IGNORE
        before = self._keeper.pool.get(entry.account)
        fork = self._fork_of(signed)
        if fork is not None:
            await self._keeper.accuse(fork)
            return Verdict.IGNORE
        known = before is not None and before.entry.seq >= entry.seq
        return Verdict.IGNORE if known or self._is_old(entry) else Verdict.ACCEPT

    def _fork_of(self, signed: SignedEntry) -> Fork | None:
        head = self._keeper.replica.head(signed.entry.account)
        if head is not None and head.signed.entry.seq == signed.entry.seq:
            return Fork(head.signed.raw, signed.raw) if head.signed.id != signed.id else None
        return None if self._is_old(signed.entry) else self._keeper.pool.offer(signed, trio.current_time())

    def _is_old(self, entry: Entry) -> bool:
        return entry.seq <= self._keeper.replica.seq(entry.account)

    def _in_time(self, account: PeerId) -> bool:
        return self._paced is None or self._paced.allow(account, trio.current_time())
