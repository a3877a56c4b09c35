"""Which head of each account a replica holds, as 256 hashes: two replicas compare them, and list only what differs."""

from __future__ import annotations

import hashlib
from bisect import bisect_right, insort

from swarmd.protocols.canonical import encode
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.messages import BUCKETS, HeadLine


def bucket_of(account: PeerId) -> int:
    """0 to 255: the first byte of SHA-256 of the peer id."""
    return hashlib.sha256(account.encode()).digest()[0]


class Buckets:
    """The lines (account, seq, entry id) in their buckets, each bucket sorted by account and hashed when asked."""

    def __init__(self) -> None:
        self._lines: dict[PeerId, HeadLine] = {}
        self._accounts: tuple[list[PeerId], ...] = tuple([] for _ in range(BUCKETS))
        self._hashes = [_hash_of(()) for _ in range(BUCKETS)]
        self._stale: set[int] = set()

    def set(self, account: PeerId, seq: int, entry: EntryId) -> None:
        """Put an account's line in the place of its earlier one."""
        bucket = bucket_of(account)
        if account not in self._lines:
            insort(self._accounts[bucket], account)
        self._lines[account] = HeadLine(account, seq, entry)
        self._stale.add(bucket)

    def root(self) -> bytes:
        """SHA-256 over all hashes, 32 bytes."""
        return hashlib.sha256(self.hashes()).digest()

    def hashes(self) -> bytes:
        """SHA-256 of each bucket's lines, one after the other: 256 x 32 bytes."""
        for bucket in self._stale:
            self._hashes[bucket] = _hash_of(self._in(bucket, 0, None))
        self._stale.clear()
        return b"".join(self._hashes)

    def lines(self, bucket: int, after: str, limit: int) -> tuple[HeadLine, ...]:
        """At most ``limit`` lines of a bucket, from the first account after ``after`` on (empty: from the start)."""
        start = bisect_right(self._accounts[bucket], PeerId(after))
        return self._in(bucket, start, start + limit)

    def _in(self, bucket: int, start: int, end: int | None) -> tuple[HeadLine, ...]:
        return tuple(self._lines[account] for account in self._accounts[bucket][start:end])


def _hash_of(lines: tuple[HeadLine, ...]) -> bytes:
    return hashlib.sha256(encode(tuple((line.account, line.seq, line.entry) for line in lines))).digest()
