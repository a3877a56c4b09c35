"""Staying in step without gossip: compare with a random peer, and fetch what differs.

Only certified heads, proofs and the committee chain travel, so that a newcomer needs no history. What a peer
sends is believed for its signatures only; a peer that sends what holds not is left alone for a while.
"""

from __future__ import annotations

from itertools import pairwise

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.serving import hello
from swarmd.protocols.errors import NotYet, ProtocolViolation
from swarmd.protocols.ids import PeerId, public_key_of
from swarmd.protocols.ledger.buckets import bucket_of
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
        hashes = self._keeper.replica.buckets.hashes()
        differ = [n for n in range(BUCKETS) if _part(hashes, n) != _part(summary.buckets, n)]
        self._keeper.counters["comparisons"] += 1
        taken = await self._fetch_buckets(peer, differ) if differ else 0
        if summary.hello.proofs != self._keeper.replica.proofs_hash():
            await self._fetch_proofs(peer)  # heads first: a proof counts against those that have an account
        return taken

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
                taken[0] += await self._fetch_bucket(peer, todo.pop())

        try:
            async with trio.open_nursery() as nursery:
                for _ in range(QUESTIONS_AT_ONCE):
                    nursery.start_soon(work)
        except ExceptionGroup as group:
            raise _first(group) from None
        return taken[0]

    async def _fetch_bucket(self, peer: PeerId, bucket: int) -> int:
        """Page by page, each page's heads before the next, so that no list of a liar's grows."""
        taken, after = 0, ""
        for _ in range(MAX_PAGES):
            answer = await self._asking.peer(peer, GetBuckets(bucket, after), Buckets)
            wanted = [line.account for line in _in_order(answer.lines, bucket, after) if self._is_news(line)]
            for batch in _batches(wanted):
                taken += await self._fetch_heads(peer, batch)
            if not answer.more or not answer.lines:
                break
            after = answer.lines[-1].account
        return taken

    def _is_news(self, line: HeadLine) -> bool:
        head = self._keeper.replica.head(line.account)
        if head is None or head.signed.entry.seq < line.seq:
            return True
        return head.signed.entry.seq == line.seq and head.signed.id != line.entry

    async def _fetch_heads(self, peer: PeerId, accounts: list[PeerId]) -> int:
        """Ask until the answer leaves nothing out. Raises ProtocolViolation if the peer has not what it listed."""
        taken = 0
        while accounts:
            answer = await self._asking.peer(peer, GetHeads(tuple(accounts)), Heads)
            if not answer.heads:
                raise ProtocolViolation("it lists heads that it does not have")
            try:
                taken += await self._keeper.take_heads(answer.heads)
            except NotYet:
                return taken
            accounts = accounts[len(answer.heads) :]
        return taken


def _part(hashes: bytes, bucket: int) -> bytes:
    return hashes[bucket * _HASH : (bucket + 1) * _HASH]


def _in_order(lines: tuple[HeadLine, ...], bucket: int, after: str) -> tuple[HeadLine, ...]:
    """The lines. Raises ProtocolViolation unless they are of accounts in this bucket, and in order."""
    accounts = [line.account for line in lines]
    if any(one >= other for one, other in pairwise([after, *accounts])):
        raise ProtocolViolation("lines that are out of order")
    for account in accounts:
        if public_key_of(account) and bucket_of(account) != bucket:
            raise ProtocolViolation("a line of another bucket")
    return lines


def _batches(accounts: list[PeerId]) -> list[list[PeerId]]:
    return [accounts[start : start + MAX_HEADS] for start in range(0, len(accounts), MAX_HEADS)]


def _first(group: ExceptionGroup[Exception]) -> Exception:
    leaf: Exception = group
    while isinstance(leaf, ExceptionGroup):
        leaf = leaf.exceptions[0]
    return leaf
