"""In which committees this node may still vote, by ``self.db``; and what it handed over and took over.

Every function takes the open transaction it runs in.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.handover import Handover, LaneMark, Report
from swarmd.protocols.ledger.validator import NO_ENTRY
from swarmd.protocols.ledger.votes import ClaimVote, CloseVote, EntryVote, MaturityVote
from swarmd.protocols.records import from_value, to_value

HANDOVERS_KEPT = 4
"""The newest; who takes over from an older committee finds its report with other members or not at all."""
_MAX_HANDOVER_BYTES = 1024


def restored(db: sqlite3.Connection) -> bool:
    """Whether the file came from a backup, and what was signed since is not known yet."""
    return _meta(db, "restored", 0) != 0


def mark_restored(db: sqlite3.Connection, now: int) -> None:
    """Nothing may be signed until ``confirm``."""
    _set_meta(db, "restored", now)


def declare_newest(db: sqlite3.Connection) -> None:
    """The owner's word that nothing was signed after the backup: entries and votes go on as if it had never left."""
    db.execute("DELETE FROM meta WHERE name = 'restored'")


def confirm(db: sqlite3.Connection, committee: int) -> None:
    """Own entries may be signed again. Nobody knows our lost votes: none is cast up to this committee any more."""
    if restored(db):
        _set_meta(db, "voted_out", max(committee, _meta(db, "voted_out", -1)))
        db.execute("DELETE FROM meta WHERE name = 'restored'")


def voted_out(db: sqlite3.Connection) -> int:
    """The highest committee in which we vote no more; -1 for none."""
    return _meta(db, "voted_out", -1)


def check_signing(db: sqlite3.Connection) -> None:
    """Raises StateError while the file is only a restored backup."""
    if restored(db):
        raise StateError(
            "this node was restored from a backup, and what it signed since then is not known yet",
            hint="keep it running and connected: peers tell it its newest entry, and then it signs again",
        )


def check_voting(db: sqlite3.Connection, vote: EntryVote | ClaimVote | CloseVote | MaturityVote) -> None:
    """Raises StateError for a vote in a committee that we handed over, or did not take over yet."""
    check_signing(db)
    number = vote.committee
    if number <= voted_out(db):
        raise StateError(f"this node votes no more in committee {number}", hint="the next committee votes now")
    if number > 0 and not inherited(db, number):
        raise StateError(f"committee {number} was not taken over yet", hint="wait for the former members' reports")


def hand_over(db: sqlite3.Connection, number: int, handover: Handover, report: bytes) -> None:
    """Vote no more up to committee ``number``.

    Raises StateError if that was so before, by another hand-over; or if the committee was not taken over: a report
    without what came from the one before would let the next committee forget it.
    """
    row = (encode(to_value(handover)), report)
    known = db.execute("SELECT handover, report FROM handovers WHERE number = ?", (number,)).fetchone()
    if known == row:
        return
    check_signing(db)
    if number <= voted_out(db):
        raise StateError(
            f"committee {number} was handed over already, or this node lost votes in it",
            hint="the other members hand over to the next committee",
        )
    if number > 0 and not inherited(db, number):
        raise StateError(f"committee {number} was not taken over yet", hint="wait for the former members' reports")
    db.execute("INSERT INTO handovers (number, handover, report) VALUES (?, ?, ?)", (number, *row))
    db.execute("DELETE FROM handovers WHERE number <= ?", (number - HANDOVERS_KEPT,))
    _set_meta(db, "voted_out", number)


def handover(db: sqlite3.Connection, number: int) -> tuple[Handover, bytes] | None:
    """What was handed over of a committee: our signed word, and the report's bytes."""
    row = db.execute("SELECT handover, report FROM handovers WHERE number = ?", (number,)).fetchone()
    return None if row is None else (from_value(Handover, decode(row[0], limit=_MAX_HANDOVER_BYTES)), row[1])


def inherit(
    db: sqlite3.Connection, number: int, entries: Mapping[tuple[PeerId, int], EntryId], carried: tuple[bytes, ...]
) -> None:
    """Be bound by what a former committee's members voted. Who was bound to another entry votes for neither."""
    rows = [(account, seq, entry, NO_ENTRY) for (account, seq), entry in entries.items()]
    clash = "ON CONFLICT (account, seq) DO UPDATE SET id = ?4 WHERE id <> excluded.id"
    db.executemany(f"INSERT INTO inherited_entries VALUES (?1, ?2, ?3) {clash}", rows)
    db.execute("DELETE FROM carried")
    db.executemany("INSERT INTO carried VALUES (?) ON CONFLICT DO NOTHING", [(raw,) for raw in carried])
    db.execute("INSERT INTO inherited VALUES (?) ON CONFLICT DO NOTHING", (number,))


def inherited(db: sqlite3.Connection, number: int) -> bool:
    """Whether committee ``number`` was taken over."""
    return db.execute("SELECT 1 FROM inherited WHERE number = ?", (number,)).fetchone() is not None


def inherited_entry(db: sqlite3.Connection, account: PeerId, seq: int) -> EntryId | None:
    """The only entry of that number that we may vote for, by what members of former committees reported."""
    sql = "SELECT id FROM inherited_entries WHERE account = ? AND seq = ?"
    row = db.execute(sql, (account, seq)).fetchone()
    return None if row is None else EntryId(row[0])


def inherited_newest(db: sqlite3.Connection, account: PeerId) -> int:
    """The highest number of an account's entries that were reported; 0 for none."""
    sql = "SELECT max(seq) FROM inherited_entries WHERE account = ?"
    return int(db.execute(sql, (account,)).fetchone()[0] or 0)


def report(db: sqlite3.Connection, certified: Mapping[PeerId, int], lanes: tuple[LaneMark, ...]) -> Report:
    """What the next committee must know: entries voted for, or reported to us, that may not be certified yet."""
    votes = db.execute("SELECT account, seq, entry FROM entry_votes ORDER BY account, seq")
    above = [raw for account, seq, raw in votes if seq > certified.get(account, 0)]
    carried = [raw for (raw,) in db.execute("SELECT entry FROM carried ORDER BY entry")]
    return Report(tuple(dict.fromkeys(above + carried)), lanes)


def _meta(db: sqlite3.Connection, name: str, default: int) -> int:
    row = db.execute("SELECT value FROM meta WHERE name = ?", (name,)).fetchone()
    return default if row is None else int(row[0])


def _set_meta(db: sqlite3.Connection, name: str, value: int) -> None:
    db.execute("INSERT OR REPLACE INTO meta (name, value) VALUES (?, ?)", (name, value))
