"""The wallet: what the rest of the node asks of the ledger.

It writes this node's own chain and nobody else's. On a network without credits ``enabled`` is False: reading
gives empty answers and every writing method raises UsageError.
"""

from __future__ import annotations

from dataclasses import dataclass

import trio

from swarmd.ledger.asking import Asking
from swarmd.ledger.author import Author
from swarmd.ledger.claims import Claims
from swarmd.ledger.closing import Closing
from swarmd.ledger.collect import Collector
from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.reports import Reports
from swarmd.ledger.selfdb import OwnEntry
from swarmd.ledger.standing import Standing
from swarmd.ledger.succession import SuccessionDesk
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.ledger.account import Lane
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.entry import LaneOpen, Op, SignedEntry
from swarmd.protocols.ledger.messages import Evidence
from swarmd.protocols.ledger.replica import Replica

NO_EVIDENCE = Evidence()


@dataclass(frozen=True, slots=True)
class LaneAsk:
    """A lane to open: at most ``cap`` micro-credits for this provider."""

    provider: PeerId
    cap: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerParts:
    """What runs behind a wallet on a network with credits."""

    asking: Asking
    collector: Collector
    author: Author
    claims: Claims
    closing: Closing
    reports: Reports
    succession: SuccessionDesk


class Wallet:
    """Made by ``serve_ledger``. Amounts in micro-credits, times in Unix seconds."""

    def __init__(self, keeper: Keeper, parts: LedgerParts | None) -> None:
        self.keeper = keeper
        self._parts = parts

    @property
    def enabled(self) -> bool:
        """Whether the network has credits."""
        return self._parts is not None

    @property
    def account(self) -> PeerId:
        """Ours."""
        return self.keeper.account

    @property
    def replica(self) -> Replica:
        """Everything certified, as far as it is known here. Read it; the ledger's services write it."""
        return self.keeper.replica

    @property
    def parts(self) -> LedgerParts:
        """What runs behind it. Raises UsageError on a network without credits."""
        if self._parts is None:
            raise UsageError("this network has no credits", hint="swarmd network init NAME makes one that has")
        return self._parts

    @property
    def changed(self) -> trio.Event:
        """Set when something about our account or its pending entry changed; ask again for the next one."""
        return self.keeper.changed

    def standing(self) -> Standing:
        """Our account now."""
        if self._parts is None:
            return self.keeper.standing(pending=None, queued=(), obstacle="")
        author = self._parts.author
        return self.keeper.standing(pending=author.pending(), queued=author.queued, obstacle=author.obstacle)

    async def write(
        self, ops: tuple[Op, ...], *, evidence: Evidence = NO_EVIDENCE, note: str = "", wait: bool = True
    ) -> SignedEntry:
        """Put operations into our chain; they may share the entry with others that wait, never be split.

        ``wait``: return once certified, however long that takes; else once signed and on disk. A cancelled
        call may still be written. ``note`` is for our own history; nobody else sees it.

        Raises:
            UsageError: the balance is too small, no such lane, ...; nothing was signed.
            StateError: our account is frozen, or the disk fails.
            Refused: too many writes wait already.
        """
        return await self.parts.author.write(ops, evidence, note, wait=wait)

    async def open_lanes(self, run: RunId, asks: tuple[LaneAsk, ...], expires: int, note: str = "") -> tuple[int, ...]:
        """Set credits aside for providers of a run; the lanes' numbers in the order asked, once certified.

        Raises as ``write``.
        """
        ops = tuple(LaneOpen(run, ask.provider, ask.cap, expires) for ask in asks)
        return await self.parts.closing.open(run, ops, note)

    async def lane_standing(self, payer: PeerId, lane: int) -> Lane | None:
        """The open lane, by its payer's certified head; asks peers once if it is not known here."""
        found = self.replica.state(payer).lane(lane)
        if found is None and self._parts is not None:
            await self._parts.asking.find_head(payer)
            found = self.replica.state(payer).lane(lane)
        return found

    async def settle_lane(self, lane: int, voucher: bytes = b"", release: bytes = b"") -> int:
        """Close a lane of ours and settle it; what was paid from it.

        With the provider's release and our voucher for its total: at once. Without: when the lane has expired
        and its grace is over. The wish is on disk first: a restart goes on with it, and so does the node if
        this call is cancelled.

        Raises:
            UsageError: no such open lane, or a release that is not for it.
        """
        return await self.parts.closing.settle(lane, voucher, release)

    async def claim_lane(self, payer: PeerId, lane: int, voucher: bytes) -> None:
        """Take what a voucher owes us from an open lane, or from its settlement; returns once that is certified.

        Raises:
            Refused: the voucher is not for us, or the lane was closed without it.
        """
        await self.parts.claims.claim_lane(payer, lane, voucher)

    async def history(self, limit: int = 50) -> tuple[OwnEntry, ...]:
        """Our newest entries, newest first."""
        return await self.keeper.deps.self_store.entries(None, limit)

    async def explain(self, prefix: str) -> OwnEntry:
        """The entry of ours with this number or beginning of an id. Raises NotFound, UsageError."""
        return await self.keeper.deps.self_store.find(prefix)

    async def lanes(self) -> tuple[LaneRecord, ...]:
        """Every lane this node pays or is paid by, newest first."""
        return await self.keeper.deps.job_store.lanes()

    def committee(self) -> Committee:
        """The newest one known here."""
        return self.replica.committee

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name: ``ledger_*``."""
        return {f"ledger_{name}": count for name, count in self.keeper.counters.items()}

    def gauges(self) -> dict[str, int]:
        """Figures of now, by name."""
        if self._parts is None:
            return {}
        standing = self.standing()
        return {
            "ledger_accounts": len(self.replica),
            "ledger_balance": standing.balance,
            "ledger_pending": int(standing.pending is not None) + standing.waiting,
        }
