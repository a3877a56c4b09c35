"""``self.db``: all that our key has signed in the ledger. With the key it is the account.

Everything is on disk, safe from a power cut, before the call that stores it returns, and so before it is sent. That
is what keeps a node that is killed at any moment from ever signing two things that contradict each other.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

import trio

from swarmd.database import Database, serve_database
from swarmd.ledger import castvotes, duties, lanemarks, ownentries
from swarmd.ledger.ownentries import OwnEntry
from swarmd.ledger.schemas import HISTORY_SECONDS, SELF_SCHEMA
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.entry import SignedEntry
from swarmd.protocols.ledger.handover import Handover, LaneMark, Report
from swarmd.protocols.ledger.validator import Inherited
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, EntryVote, MaturityVote, SignedVote

_Vote = TypeVar("_Vote", EntryVote, ClaimVote, CloseVote, MaturityVote)

__all__ = ["HISTORY_SECONDS", "OwnEntry", "SelfStore", "serve_self_store"]


class SelfStore:
    """Typed access to ``self.db``. Every method raises StateError when the disk or file fails."""

    def __init__(self, database: Database, *, restored: bool = False) -> None:
        self._database = database
        self._restored = restored

    @property
    def restored(self) -> bool:
        """Whether this is a restored backup that peers have not confirmed: until then nothing can be signed."""
        return self._restored

    async def confirm_restored(self, committee: int) -> None:
        """Peers confirmed our newest entry (``adopt`` it first if it is not here).

        Votes since the backup are lost and nobody can tell them: none is cast up to ``committee``, the newest known.
        """
        await self._database.write(lambda db: duties.confirm(db, committee))
        self._restored = False

    # Our own entries.

    async def add_entry(self, signed: SignedEntry, state: bytes, evidence: bytes, note: str, now: float) -> None:
        """Keep an entry that we signed, before anybody sees it; the same one again changes nothing.

        Raises:
            StateError: another entry of this number, or a later one, was signed; or this is an unconfirmed backup.
        """
        own = _own(signed, state, evidence, note, now, b"")
        await self._database.write(lambda db: _add_entry(db, signed, own))

    async def adopt(self, signed: SignedEntry, state: bytes, head: bytes, now: float) -> None:
        """Keep a certified entry of ours that peers had and we did not. Raises StateError as ``add_entry``."""
        own = _own(signed, state, b"", "", now, head)
        await self._database.write(lambda db: _adopt(db, signed, own))

    async def entry(self, seq: int) -> OwnEntry | None:
        """Our entry of this number; None also for one that was pruned."""
        return await self._database.read(lambda db: ownentries.by_seq(db, seq))

    async def newest(self) -> OwnEntry | None:
        """Our entry of the highest number."""
        return await self._database.read(ownentries.newest)

    async def entries(self, before: int | None, limit: int) -> tuple[OwnEntry, ...]:
        """Our entries below number ``before``, newest first; at most 1,000."""
        return await self._database.read(lambda db: ownentries.listed(db, before, limit))

    async def certified(self, seq: int, head: bytes) -> None:
        """Keep the certified wire form of our entry. Raises NotFound."""
        await self._database.write(lambda db: ownentries.certify(db, seq, head))

    async def find(self, prefix: str) -> OwnEntry:
        """Our entry of this number, or whose id starts so. Raises NotFound, UsageError."""
        return await self._database.read(lambda db: ownentries.find(db, prefix))

    async def prune(self, before: float) -> None:
        """Forget entries signed before Unix time ``before``, never the newest two."""
        await self._database.write(lambda db: ownentries.prune(db, before))

    # Our votes. Each call is one transaction that decides and keeps; what it returns is what stands.
    # All raise StateError in a committee that was handed over, or was not taken over yet.

    async def cast_entry(self, vote: SignedVote, entry: bytes) -> SignedVote:
        """The vote, or the earlier one for another entry of that number. Raises Refused for long certified ones."""
        what = _only(EntryVote, vote)
        return await self._database.write(lambda db: castvotes.cast_entry(db, vote, what, entry))

    async def entry_vote(self, account: PeerId, seq: int) -> SignedVote | None:
        """The vote that stands for this account and number."""
        return await self._database.read(lambda db: castvotes.entry_vote(db, account, seq))

    async def voted_entry(self, account: PeerId, seq: int) -> bytes | None:
        """The signed entry that this vote is for."""
        return await self._database.read(lambda db: castvotes.voted_entry(db, account, seq))

    async def inherited_entry(self, account: PeerId, seq: int) -> EntryId | None:
        """The only entry of that number we may vote for, by the reports of former committees; None if none is known."""
        return await self._database.read(lambda db: duties.inherited_entry(db, account, seq))

    async def inherited_newest(self, account: PeerId) -> int:
        """The highest number of this account's entries in the reports of former committees; 0 for none."""
        return await self._database.read(lambda db: duties.inherited_newest(db, account))

    async def cast_claim(self, vote: SignedVote, voucher: bytes) -> SignedVote:
        """The vote; the highest is kept with its voucher. Raises Refused above what a closed lane still grants."""
        what = _only(ClaimVote, vote)
        return await self._database.write(lambda db: lanemarks.cast_claim(db, vote, what, voucher))

    async def cast_close(self, vote: SignedVote, release: bytes) -> SignedVote:
        """The vote, or the earlier closing. Raises Refused below a claim that was voted for, or once settled."""
        what = _only(CloseVote, vote)
        return await self._database.write(lambda db: lanemarks.cast_close(db, vote, what, release))

    async def cast_maturity(self, vote: SignedVote) -> SignedVote:
        """The vote. Two of them never contradict, so none is kept."""
        what = _only(MaturityVote, vote)
        await self._database.write(lambda db: duties.check_voting(db, what))
        return vote

    async def lane_mark(self, payer: PeerId, lane: int) -> LaneMark | None:
        """What was voted on a lane, by us or by those we took over from."""
        return await self._database.read(lambda db: lanemarks.mark(db, payer, lane))

    async def claimable(self, payer: PeerId, lane: int, committee: int) -> int:
        """What may still be claimed of a lane that we closed in this committee (``lanemarks.claimable``)."""
        return await self._database.read(lambda db: lanemarks.claimable(db, payer, lane, committee))

    async def forget(self, account: PeerId, below_seq: int) -> None:
        """Drop votes for entries below this number, which is certified; they are never voted for again."""
        if await self._database.read(lambda db: castvotes.has_below(db, account, below_seq)):
            await self._database.write(lambda db: castvotes.forget(db, account, below_seq))

    async def forget_lane(self, payer: PeerId, lane: int) -> None:
        """Drop what was voted on a settled lane; it is never voted on again."""
        if await self.lane_mark(payer, lane) is not None:
            await self._database.write(lambda db: lanemarks.forget_lane(db, payer, lane))

    async def forget_lanes(self, payer: PeerId, state: AccountState) -> None:
        """As ``forget_lane``, for every lane that this certified state of its payer shows settled."""
        if await self._database.read(lambda db: lanemarks.has_marks(db, payer)):
            await self._database.write(lambda db: lanemarks.forget_settled(db, payer, state))

    # From one committee to the next.

    async def report(self, certified: Mapping[PeerId, int]) -> Report:
        """What we voted that may not be certified; ``certified`` has the certified number of each account.

        Nothing may be cast between this and ``hand_over``: the report would lack it.
        """
        return await self._database.read(lambda db: duties.report(db, certified, lanemarks.marks(db)))

    async def hand_over(self, number: int, handover: Handover, report: bytes) -> None:
        """Vote no more up to committee ``number``; ``report`` is the canonical Report. Repeating it changes nothing.

        Raises:
            StateError: it was handed over otherwise, or votes in it were lost with a restored backup.
        """
        await self._database.write(lambda db: duties.hand_over(db, number, handover, report))

    async def handed_over(self) -> int:
        """The highest committee in which we vote no more, handed over or lost with a backup; -1 for none."""
        return await self._database.read(duties.voted_out)

    async def handover(self, number: int) -> tuple[Handover, bytes] | None:
        """What we handed over of a committee, and the report's bytes; None also for one long ago."""
        return await self._database.read(lambda db: duties.handover(db, number))

    async def inherit(self, number: int, inherited: Inherited, carried: tuple[bytes, ...] = ()) -> None:
        """Take over committee ``number``: be bound by the former members' reports, then vote in it.

        ``carried`` holds the signed entries of those reports. They go into our own report, since what binds us
        must bind whoever comes after us.
        """
        await self._database.write(lambda db: _inherit(db, number, inherited, carried))

    async def inherited(self, number: int) -> bool:
        """Whether committee ``number`` was taken over."""
        return await self._database.read(lambda db: duties.inherited(db, number))


async def serve_self_store(path: Path, *, task_status: trio.TaskStatus[SelfStore] = trio.TASK_STATUS_IGNORED) -> None:
    """Open ``self.db`` and serve it until cancelled. Raises StateError if it cannot be used."""
    async with trio.open_nursery() as nursery:
        database = await nursery.start(serve_database, path, SELF_SCHEMA)
        task_status.started(SelfStore(database, restored=await database.read(duties.restored)))


def _own(signed: SignedEntry, state: bytes, evidence: bytes, note: str, now: float, head: bytes) -> OwnEntry:
    return OwnEntry(
        seq=signed.entry.seq,
        id=signed.id,
        raw=signed.raw,
        state=state,
        evidence=evidence,
        note=note,
        time=now,
        head=head,
    )


def _add_entry(db: sqlite3.Connection, signed: SignedEntry, own: OwnEntry) -> None:
    duties.check_signing(db)
    ownentries.add(db, signed, own)


def _adopt(db: sqlite3.Connection, signed: SignedEntry, own: OwnEntry) -> None:
    ownentries.add(db, signed, own)
    ownentries.certify(db, own.seq, own.head)


def _inherit(db: sqlite3.Connection, number: int, inherited: Inherited, carried: tuple[bytes, ...]) -> None:
    duties.inherit(db, number, inherited.entries, carried)
    lanemarks.inherit(db, inherited.lanes.values())


def _only(kind: type[_Vote], signed: SignedVote) -> _Vote:
    if not isinstance(signed.vote, kind):
        raise ProtocolViolation(f"a vote of another kind than {kind.TAG}")
    return signed.vote
