"""What this node voted on lanes, in ``self.db``: the highest claim, and the one closing.

A settled lane leaves nothing but its number, and numbers in a row are one range. Every function takes the open
transaction it runs in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from swarmd.ledger import duties
from swarmd.ledger.castvotes import outlives, pack, unpack
from swarmd.protocols.errors import Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.handover import LaneMark
from swarmd.protocols.ledger.validator import merge_marks
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, SignedVote

_MARK = "payer, lane, highest, voucher, closed, release"
_SAVE = (
    f"INSERT INTO lane_marks ({_MARK}, vote) VALUES (?, ?, ?, ?, ?, ?, x'') ON CONFLICT (payer, lane) DO UPDATE SET "
    "highest = excluded.highest, voucher = excluded.voucher, closed = excluded.closed, release = excluded.release"
)


def cast_claim(db: sqlite3.Connection, signed: SignedVote, vote: ClaimVote, voucher: bytes) -> SignedVote:
    """Keep a claim if it is the lane's highest. Raises Refused once settled, or above what a closed lane grants."""
    duties.check_voting(db, vote)
    known = _open_mark(db, vote.payer, vote.lane)
    if known.closed and vote.total > claimable(db, vote.payer, vote.lane, vote.committee):
        raise Refused(f"lane {vote.lane} of {vote.payer} was closed: no further claim on it is voted for")
    if vote.total > known.highest:
        save(db, replace(known, highest=vote.total, voucher=voucher))
    return signed


def cast_close(db: sqlite3.Connection, signed: SignedVote, vote: CloseVote, release: bytes) -> SignedVote:
    """Keep the closing of a lane, unless one of the same committee, or a higher one, stands.

    Raises Refused for a lane that was settled, or below a claim that was voted for.
    """
    duties.check_voting(db, vote)
    known, earlier = _open_mark(db, vote.payer, vote.lane), close_vote(db, vote.payer, vote.lane)
    if earlier is not None and (outlives(earlier, signed) or _above(earlier, vote)):
        return earlier
    if vote.highest < known.highest:
        raise Refused(f"claims up to {known.highest} on lane {vote.lane} of {vote.payer} were voted for")
    kept = known.release if known.closed else release  # a closed lane's release was looked at by nobody
    save(db, LaneMark(vote.payer, vote.lane, known.highest, known.voucher, True, kept))
    sql = "UPDATE lane_marks SET vote = ?, closed_before = closed_before OR ? WHERE payer = ? AND lane = ?"
    db.execute(sql, (pack(signed), earlier is not None, vote.payer, vote.lane))
    return signed


def close_vote(db: sqlite3.Connection, payer: PeerId, lane: int) -> SignedVote | None:
    """Our own closing of a lane."""
    row = db.execute("SELECT vote FROM lane_marks WHERE payer = ? AND lane = ?", (payer, lane)).fetchone()
    return unpack(row[0]) if row is not None and row[0] else None


def claimable(db: sqlite3.Connection, payer: PeerId, lane: int, committee: int) -> int:
    """What a provider may still have certified of a lane we closed, if its payer does not settle; micro-credits.

    Up to our own closing in this committee: whatever closings the payer settles by, one of them is of an honest member
    that voted for the claim too. What a former committee closed may have been closed at less.
    """
    sql = "SELECT vote FROM lane_marks WHERE payer = ? AND lane = ? AND NOT closed_before"
    row = db.execute(sql, (payer, lane)).fetchone()
    vote = unpack(row[0]).vote if row is not None and row[0] else None
    return vote.highest if isinstance(vote, CloseVote) and vote.committee == committee else 0


def mark(db: sqlite3.Connection, payer: PeerId, lane: int) -> LaneMark | None:
    """What is kept on a lane."""
    row = db.execute(f"SELECT {_MARK} FROM lane_marks WHERE payer = ? AND lane = ?", (payer, lane)).fetchone()
    return None if row is None else _mark(row)


def marks(db: sqlite3.Connection) -> tuple[LaneMark, ...]:
    """What is kept on every lane, by payer and number."""
    return tuple(_mark(row) for row in db.execute(f"SELECT {_MARK} FROM lane_marks ORDER BY payer, lane"))


def has_marks(db: sqlite3.Connection, payer: PeerId) -> bool:
    """Whether anything is kept on lanes of this payer."""
    return bool(db.execute("SELECT EXISTS (SELECT 1 FROM lane_marks WHERE payer = ?)", (payer,)).fetchone()[0])


def save(db: sqlite3.Connection, mark: LaneMark) -> None:
    """Keep a mark; our own closing of the lane stays."""
    db.execute(_SAVE, (mark.payer, mark.lane, mark.highest, mark.voucher, mark.closed, mark.release))


def inherit(db: sqlite3.Connection, reported: Iterable[LaneMark]) -> None:
    """Be bound by what a former committee's members voted, too."""
    for each in reported:
        known = mark(db, each.payer, each.lane)
        if not _settled(db, each.payer, each.lane):
            save(db, merge_marks(known, each) if known else each)
            sql = "UPDATE lane_marks SET closed_before = closed_before OR ? WHERE payer = ? AND lane = ?"
            db.execute(sql, (each.closed, each.payer, each.lane))


def forget_lane(db: sqlite3.Connection, payer: PeerId, lane: int) -> None:
    """A lane was settled: nothing on it is voted for any more."""
    _settle(db, payer, lane, lane)


def forget_settled(db: sqlite3.Connection, payer: PeerId, state: AccountState) -> None:
    """As ``forget_lane`` for every lane that a certified state of the payer shows settled."""
    start = 1
    for number in (*(lane.number for lane in state.lanes), state.lanes_opened + 1):
        if start < number:
            _settle(db, payer, start, number - 1)
        start = number + 1


def _settle(db: sqlite3.Connection, payer: PeerId, first: int, last: int) -> None:
    db.execute("DELETE FROM lane_marks WHERE payer = ? AND lane BETWEEN ? AND ?", (payer, first, last))
    touching = "FROM settled_lanes WHERE payer = ? AND first <= ? AND last >= ?"
    place = (payer, last + 1, first - 1)
    low, high = db.execute(f"SELECT min(first), max(last) {touching}", place).fetchone()
    db.execute(f"DELETE {touching}", place)
    whole = (first, last) if low is None else (min(first, low), max(last, high))
    db.execute("INSERT INTO settled_lanes VALUES (?, ?, ?)", (payer, *whole))


def _settled(db: sqlite3.Connection, payer: PeerId, lane: int) -> bool:
    sql = "SELECT 1 FROM settled_lanes WHERE payer = ? AND ? BETWEEN first AND last"
    return db.execute(sql, (payer, lane)).fetchone() is not None


def _open_mark(db: sqlite3.Connection, payer: PeerId, lane: int) -> LaneMark:
    if _settled(db, payer, lane):
        raise Refused(f"lane {lane} of {payer} was settled")
    return mark(db, payer, lane) or LaneMark(payer, lane, 0, b"", False, b"")


def _above(earlier: SignedVote, vote: CloseVote) -> bool:
    return isinstance(earlier.vote, CloseVote) and earlier.vote.highest > vote.highest


def _mark(row: tuple[Any, ...]) -> LaneMark:
    payer, lane, highest, voucher, closed, release = row
    return LaneMark(PeerId(payer), lane, highest, voucher, bool(closed), release)
