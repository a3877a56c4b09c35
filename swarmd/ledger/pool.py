"""Entries that were seen and are not certified yet: one for each account, for ten minutes.

They are kept to show a fork: a second entry of the same number, signed by the same owner.
"""

from __future__ import annotations

from collections import OrderedDict

from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.entry import SignedEntry
from swarmd.protocols.ledger.proofs import Fork

MAX_PENDING = 10_000
MAX_BYTES = 16 << 20
"""Of their wire forms; an entry takes some times as much in memory."""
SECONDS = 600.0


class Pool:
    """``now`` is of any clock that only moves forward."""

    def __init__(self) -> None:
        self._entries: OrderedDict[PeerId, tuple[SignedEntry, float]] = OrderedDict()  # by when they were seen
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._entries)

    def offer(self, signed: SignedEntry, now: float) -> Fork | None:
        """Keep an entry whose owner's signature holds; a proof if another of its number is known."""
        self._expire(now)
        account = signed.entry.account
        known = self._entries.get(account)
        if known is not None and known[0].entry.seq == signed.entry.seq:
            return Fork(known[0].raw, signed.raw) if known[0].id != signed.id else None
        if known is None or known[0].entry.seq < signed.entry.seq:
            self._forget(account)
            self._entries[account] = signed, now
            self._bytes += len(signed.raw)
        while len(self._entries) > MAX_PENDING or self._bytes > MAX_BYTES:
            self._forget(next(iter(self._entries)))
        return None

    def get(self, account: PeerId) -> SignedEntry | None:
        """The entry of an account."""
        known = self._entries.get(account)
        return known[0] if known else None

    def drop(self, account: PeerId, seq: int) -> None:
        """Forget an entry that is certified now, or was overtaken."""
        known = self._entries.get(account)
        if known is not None and known[0].entry.seq <= seq:
            self._forget(account)

    def _expire(self, now: float) -> None:
        while self._entries:
            account, (_, seen) = next(iter(self._entries.items()))
            if seen + SECONDS > now:
                return
            self._forget(account)

    def _forget(self, account: PeerId) -> None:
        known = self._entries.pop(account, None)
        if known is not None:
            self._bytes -= len(known[0].raw)
