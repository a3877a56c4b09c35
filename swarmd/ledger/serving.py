"""What we answer to peers that compare their ledger with ours."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarmd.ledger.keeper import Keeper
from swarmd.protocols.canonical import encode
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.handover import Succession
from swarmd.protocols.ledger.messages import (
    MAX_ANSWER_BYTES,
    MAX_BUCKET_LINES,
    MAX_HEADS,
    Buckets,
    GetBuckets,
    GetHeads,
    GetPending,
    GetProofs,
    GetSuccessions,
    Heads,
    Hello,
    Pending,
    Proofs,
    Successions,
    Summary,
)
from swarmd.protocols.pacing import RateLimit
from swarmd.protocols.records import to_value

HELLOS = (0.2, 3)
"""Of one member, that give reason to ask for votes again: a second in the long run, and at once."""


def hello(keeper: Keeper) -> Hello:
    """What we know, in short."""
    replica = keeper.replica
    return Hello(replica.committee.number, len(replica), replica.buckets.root(), replica.proofs_hash())


class Serving:
    """The answers. ``behind`` is told of peers whose committee is newer than ours, ``nudge`` that a member votes."""

    def __init__(self, keeper: Keeper, behind: Callable[[PeerId], None], nudge: Callable[[], None]) -> None:
        self._keeper, self._behind, self._nudge = keeper, behind, nudge
        self._paced: RateLimit[PeerId] = RateLimit(*HELLOS)

    async def hello(self, peer: PeerId, asked: Hello) -> Summary:
        """Our side of the comparison."""
        if asked.committee > self._keeper.replica.committee.number:
            self._behind(peer)
        elif peer in self._keeper.replica.committee.peers and self._paced.allow(peer, trio.current_time()):
            self._nudge()  # it may just have caught up with its committee, and vote now
        return Summary(hello(self._keeper), self._keeper.replica.buckets.hashes())

    async def buckets(self, peer: PeerId, asked: GetBuckets) -> Buckets:
        """One bucket's lines."""
        del peer
        lines = self._keeper.replica.buckets.lines(asked.bucket, asked.after, MAX_BUCKET_LINES + 1)
        return Buckets(lines[:MAX_BUCKET_LINES], len(lines) > MAX_BUCKET_LINES)

    async def heads(self, peer: PeerId, asked: GetHeads) -> Heads:
        """Heads of the accounts asked for, as far as there is room."""
        del peer
        known = (self._keeper.replica.head(account) for account in asked.accounts)
        return Heads(_fitting(tuple(head.raw for head in known if head is not None)))

    async def pending(self, peer: PeerId, asked: GetPending) -> Pending:
        """The entry of an account that may become its next: what we voted for, else what was gossiped."""
        del peer
        keeper, seq = self._keeper, self._keeper.replica.seq(asked.account) + 1
        voted = await keeper.deps.self_store.voted_entry(asked.account, seq)
        seen = keeper.pool.get(asked.account)
        return Pending(voted or (seen.raw if seen is not None and seen.entry.seq == seq else b""))

    async def proofs(self, peer: PeerId, asked: GetProofs) -> Proofs:
        """Proofs after a culprit."""
        del peer
        after = tuple(raw for culprit, raw in self._keeper.replica.proofs() if culprit > asked.after)
        sent = _fitting(after[:MAX_HEADS])
        return Proofs(sent, len(sent) < len(after))

    async def successions(self, peer: PeerId, asked: GetSuccessions) -> Successions:
        """The committee chain after a number."""
        del peer
        room, sent = MAX_ANSWER_BYTES, list[Succession]()
        for succession in self._keeper.replica.successions[max(asked.after, 0) :][:MAX_HEADS]:
            room -= len(encode(to_value(succession)))
            if room < 0:
                break
            sent.append(succession)
        return Successions(tuple(sent))


def _fitting(raws: tuple[bytes, ...]) -> tuple[bytes, ...]:
    room, sent = MAX_ANSWER_BYTES, list[bytes]()
    for raw in raws:
        room -= len(raw) + 5
        if room < 0:
            break
        sent.append(raw)
    return tuple(sent)
