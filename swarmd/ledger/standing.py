"""What an account's owner is shown of it."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.entry import Op


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingEntry:
    """Our newest entry, signed and on disk, that the committee has not certified yet."""

    id: EntryId
    seq: int
    since: float
    """Unix time it was signed."""
    ops: tuple[Op, ...]
    after: AccountState
    """Our account once it is certified."""
    weight: int
    """Of the votes gathered."""
    quorum: int
    reasons: dict[PeerId, str]
    """Why each other member has not voted; a member that did is not in here."""
    words: str
    """Such as "2 of 4 committee members answer; 3 are needed"."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """Amounts in micro-credits, all by our newest certified entry."""

    balance: int
    pending_in: int
    """Paid to us, and not claimed yet."""
    locked: int
    """Set aside in our open lanes."""
    bonded: int
    unbonding: int
    seq: int
    """Of the newest certified entry; 0: none."""
    pending: PendingEntry | None
    queued: tuple[tuple[Op, ...], ...]
    """Writes that wait for their turn, each with its operations."""
    obstacle: str
    """Why nothing is signed now: "" if nothing is in the way."""
    frozen: bool
    """Somebody holds proof that our key signed what no honest owner signs."""
    burned: int

    @property
    def waiting(self) -> int:
        """How many writes wait for their turn."""
        return len(self.queued)
