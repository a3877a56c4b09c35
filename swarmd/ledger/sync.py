"""Staying in step without gossip: compare with a random peer, and fetch what differs.

Only certified heads, proofs and the committee chain travel, so that a newcomer needs no history. What a peer
sends is believed for its signatures only; a peer that sends what holds not is left alone for a while.
"""

from __future__ import annotations

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.serving import hello
from swarmd.protocols.errors import NotYet
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.messages import (
    BUCKETS,
    MAX_HEADS,
    Buckets,
    GetBuckets,
    GetHeads,
    GetProofs,
    GetSuccessions,
    HeadLine,
    Heads,
    Proofs,
    Successions,
    Summary,
)
from swarmd.protocols.ledger.proofs import parse_proof

QUESTIONS_AT_ONCE = 6
"""To one peer; under what it grants one peer."""
MAX_PAGES = 64
"""Of one bucket, of proofs, and of the committee chain, in one comparison."""
_HASH = 32


class Sync:
    """Compares this node's replica with peers'."""

    def __init__(self, keeper: Keeper, asking: Asking) -> None:
        self._keeper, self._asking = keeper, asking

    async def reconcile(self, peer: PeerId) -> int:
        """Take in all that the peer knows and we do not; how many heads that were. Raises RemoteError."""
        ours = hello(self._keeper)
        summary = await self._asking.peer(peer, ours, Summary)
        if summary.hello.committee > self._keeper.replica.committee.number:
            await self._fetch_successions(peer)
        if summary.hello.proofs != self._keeper.replica.proofs_hash():
            await self._fetch_proofs(peer)
        hashes = self._keeper.replica.buckets.hashes()
        differ = [n for n in range(BUCKETS) if _part(hashes, n) != _part(summary.buckets, n)]
        self._keeper.counters["comparisons"] += 1
        return await self._fetch_buckets(peer, differ) if differ else 0

    async def _fetch_successions(self, peer: PeerId) -> None:
        for _ in range(MAX_PAGES):
            number = self._keeper.replica.committee.number
            answer = await self._asking.peer(peer, GetSuccessions(number), Successions)
            for succession in answer.successions:
                await self._keeper.take_succession(succession)
            if self._keeper.replica.committee.number == number:
                return

    async def _fetch_proofs(self, peer: PeerId) -> None:
        after = ""
        for _ in range(MAX_PAGES):
            answer = await self._asking.peer(peer, GetProofs(after), Proofs)
            for raw in answer.proofs:
                await self._keeper.take_proof(raw)
            last = parse_proof(answer.proofs[-1])[0] if answer.proofs else ""
            if not answer.more or last <= after:
                return
            after = last

    async def _fetch_buckets(self, peer: PeerId, buckets: list[int]) -> int:
        """List the buckets that differ and fetch their heads, several at once."""
        todo, taken = list(reversed(buckets)), [0]

        async def work() -> None:
            while todo:
                for batch in _batches(await self._newer(peer, todo.pop())):
                    taken[0] += await self._fetch_heads(peer, batch)

        try:
            async with trio.open_nursery() as nursery:
                for _ in range(QUESTIONS_AT_ONCE):
                    nursery.start_soon(work)
        except ExceptionGroup as group:
            raise _first(group) from None
        return taken[0]

    async def _newer(self, peer: PeerId, bucket: int) -> list[PeerId]:
        wanted, after = list[PeerId](), ""
        for _ in range(MAX_PAGES):
            answer = await self._asking.peer(peer, GetBuckets(bucket, after), Buckets)
            wanted += [line.account for line in answer.lines if self._is_news(line)]
            last = answer.lines[-1].account if answer.lines else ""
            if not answer.more or last <= after:
                return wanted
            after = last
        return wanted

    def _is_news(self, line: HeadLine) -> bool:
        head = self._keeper.replica.head(line.account)
        if head is None or head.signed.entry.seq < line.seq:
            return True
        return head.signed.entry.seq == line.seq and head.signed.id != line.entry

    async def _fetch_heads(self, peer: PeerId, accounts: list[PeerId]) -> int:
        """Ask until the answer leaves nothing out; a peer that sends less and less ends it."""
        taken = 0
        while accounts:
            answer = await self._asking.peer(peer, GetHeads(tuple(accounts)), Heads)
            if not answer.heads:
                return taken
            try:
                taken += await self._keeper.take_heads(answer.heads)
            except NotYet:
                return taken
            accounts = accounts[len(answer.heads) :]
        return taken


def _part(hashes: bytes, bucket: int) -> bytes:
    return hashes[bucket * _HASH : (bucket + 1) * _HASH]


def _batches(accounts: list[PeerId]) -> list[list[PeerId]]:
    return [accounts[start : start + MAX_HEADS] for start in range(0, len(accounts), MAX_HEADS)]


def _first(group: ExceptionGroup[Exception]) -> Exception:
    leaf: Exception = group
    while isinstance(leaf, ExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
