"""Since when this node knows of stake on its way back: what a member's maturity votes rest on."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from swarmd.ledger.ledgerdb import LedgerStore
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.heads import Head


class Unbondings:
    """First sights of unstaking entries, kept on disk until the stake is released. ``clock`` gives Unix seconds."""

    def __init__(self, store: LedgerStore, clock: Callable[[], float]) -> None:
        self._store, self._clock = store, clock
        self.seen: dict[PeerId, dict[int, float]] = {}
        """By account and entry number."""

    def load(self, stored: Mapping[tuple[PeerId, int], float]) -> None:
        """Take in what the file holds."""
        for (account, seq), seen in stored.items():
            self.seen.setdefault(account, {})[seq] = seen

    async def note(self, head: Head) -> None:
        """Note what a certified head has on its way back, and forget what it has no more."""
        account = head.signed.entry.account
        waiting = {item.seq for item in head.state.unbonding}
        seen = self.seen.setdefault(account, {}) if waiting else self.seen.pop(account, {})
        for seq in waiting - set(seen):
            seen[seq] = self._clock()
            seen[seq] = await self._store.first_seen(account, seq, seen[seq])
        for seq in set(seen) - waiting:
            del seen[seq]
            await self._store.forget_seen(account, seq)
