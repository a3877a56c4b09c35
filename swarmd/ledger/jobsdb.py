"""``jobs.db``: lanes, the newest voucher of each, the receipts it rests on, and the lines of invoices.

A voucher is cumulative: a power cut that takes the last minute of them costs nothing that the next does not bring back.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import trio

from swarmd.database import Database, serve_database
from swarmd.ledger.schemas import JOBS_SCHEMA
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.ids import PeerId, RunId

CHECKPOINT_SECONDS = 60.0
ROLES = ("payer", "provider")
STATES = ("open", "closing", "settled")


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneRecord:
    """A lane that we pay from or are paid from. Amounts in micro-credits, times in Unix seconds."""

    payer: PeerId
    lane: int
    run: RunId
    provider: PeerId
    role: str
    """Ours, one of ROLES."""
    price: int
    """For ``protocols.work.PRICED_OPERATIONS`` operations."""
    cap: int
    expires: int
    total: int = 0
    """Of the newest voucher."""
    number: int = 0
    """Of the newest voucher; 0 before the first."""
    voucher: bytes = b""
    """The newest, in wire form."""
    release: bytes = b""
    """The provider's, once given."""
    claim: bytes = b""
    """The committee's newest certificate of a claim of ours, canonical: an account's later claims rest on it too."""
    state: str = "open"
    """One of STATES."""
    stage: str
    """In words: "stage 1, layers 2-3"."""
    created: float
    updated: float


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkLine:
    """One line of an invoice: the work that one voucher added for one stage."""

    run: RunId
    term: int
    stage: int
    provider: PeerId
    first_layer: int
    last_layer: int
    """Included."""
    first_step: int
    end_step: int
    forwards: int
    backwards: int
    operations: int
    amount: int
    """Micro-credits."""
    voucher: int
    """The number of the voucher that pays it."""
    work_root: bytes


_LANE = tuple(part.name for part in fields(LaneRecord))
_LINE = tuple(part.name for part in fields(WorkLine))
_SAVE_LANE = (
    f"INSERT INTO lanes ({', '.join(_LANE)}) VALUES ({', '.join('?' * len(_LANE))}) "
    "ON CONFLICT (payer, lane) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _LANE[2:])
)
_SAVE_VOUCHER = "UPDATE lanes SET voucher = ?, total = ?, number = ?, updated = ? WHERE payer = ? AND lane = ?"
_SAVE_RECEIPT = "INSERT INTO receipts (payer, lane, number, place, raw, time) VALUES (?, ?, ?, ?, ?, ?)"
_SAVE_LINE = (
    f"INSERT INTO work_lines (payer, lane, place, time, {', '.join(_LINE)}) "
    f"VALUES ({', '.join('?' * (4 + len(_LINE)))})"
)
_FIND_LANES = (
    f"SELECT {', '.join(_LANE)} FROM lanes WHERE (?1 IS NULL OR run = ?1) AND (?2 IS NULL OR role = ?2) "
    "AND (?3 IS NULL OR state = ?3) ORDER BY created, payer, lane"
)


class JobStore:
    """Typed access to ``jobs.db``. Every method raises StateError when the disk or file fails."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def save_lane(self, record: LaneRecord) -> None:
        """Add a lane, or replace all that is known of it; never its voucher by one of a lower number.

        Raises UsageError for a role or state that there is not.
        """
        if record.role not in ROLES or record.state not in STATES:
            raise UsageError(f"a lane is no {record.role!r} {record.state!r} one", hint="see ROLES and STATES")
        await self._database.write(lambda db: _save_lane(db, record))

    async def lane(self, payer: PeerId, lane: int) -> LaneRecord | None:
        """One lane."""
        return await self._database.read(lambda db: _lane(db, payer, lane))

    async def lanes(
        self, run: RunId | None = None, role: str | None = None, state: str | None = None
    ) -> tuple[LaneRecord, ...]:
        """The lanes that fit, oldest first."""
        rows = await self._database.read(lambda db: db.execute(_FIND_LANES, (run, role, state)).fetchall())
        return tuple(_record(row) for row in rows)

    async def keep_voucher(
        self,
        payer: PeerId,
        lane: int,
        voucher: bytes,
        total: int,
        number: int,
        receipts: tuple[bytes, ...],
        lines: tuple[WorkLine, ...],
    ) -> bool:
        """Keep a voucher with its receipts (canonical CountersignedReceipts) and lines, all or nothing.

        False, and nothing is kept, unless both its total and its number are above the newest voucher's.
        Raises NotFound for a lane that was not saved.
        """
        now = self._clock()

        def keep(db: sqlite3.Connection) -> bool:
            known = _lane(db, payer, lane)
            if known is None:
                raise NotFound(f"there is no lane {lane} of {payer} here", hint="save the lane first")
            if total <= known.total or number <= known.number:
                return False
            db.execute(_SAVE_VOUCHER, (voucher, total, number, now, payer, lane))
            db.executemany(_SAVE_RECEIPT, [(payer, lane, number, n, raw, now) for n, raw in enumerate(receipts)])
            db.executemany(_SAVE_LINE, [(payer, lane, n, now, *_line_values(line)) for n, line in enumerate(lines)])
            return True

        return await self._database.write(keep)

    async def work_lines(self, run: RunId) -> tuple[WorkLine, ...]:
        """The lines of a run, by term, stage and first step."""
        sql = f"SELECT {', '.join(_LINE)} FROM work_lines WHERE run = ? ORDER BY term, stage, first_step, lane, voucher"
        rows = await self._database.read(lambda db: db.execute(sql, (run,)).fetchall())
        return tuple(_line(row) for row in rows)

    async def lane_lines(self, payer: PeerId, lane: int) -> tuple[WorkLine, ...]:
        """The lines of one lane, by voucher."""
        sql = f"SELECT {', '.join(_LINE)} FROM work_lines WHERE payer = ? AND lane = ? ORDER BY voucher, place"
        rows = await self._database.read(lambda db: db.execute(sql, (payer, lane)).fetchall())
        return tuple(_line(row) for row in rows)

    async def receipt_counts(self, payer: PeerId, lane: int) -> dict[int, int]:
        """How many receipts are kept of each of a lane's vouchers, by its number."""
        sql = "SELECT number, count(*) FROM receipts WHERE payer = ? AND lane = ? GROUP BY number"
        return dict(await self._database.read(lambda db: db.execute(sql, (payer, lane)).fetchall()))

    async def paces(self, payer: PeerId, lane: int) -> tuple[tuple[int, float], ...]:
        """Of a lane's two newest vouchers: the step after the last one it pays, and the Unix time it was kept."""
        sql = (
            "SELECT max(end_step), max(time) FROM work_lines WHERE payer = ? AND lane = ? "
            "GROUP BY voucher ORDER BY voucher DESC LIMIT 2"
        )
        rows = await self._database.read(lambda db: db.execute(sql, (payer, lane)).fetchall())
        return tuple((int(step), float(when)) for step, when in rows)

    async def receipts(self, payer: PeerId, lane: int, number: int) -> tuple[bytes, ...]:
        """The receipts of one voucher, as they were kept; empty once they were pruned."""
        sql = "SELECT raw FROM receipts WHERE payer = ? AND lane = ? AND number = ? ORDER BY place"
        rows = await self._database.read(lambda db: db.execute(sql, (payer, lane, number)).fetchall())
        return tuple(raw for (raw,) in rows)

    async def prune(self, before: float) -> None:
        """Forget receipts and lines older than Unix time ``before``, and lanes that were settled before it."""
        await self._database.write(lambda db: _prune(db, before))


async def serve_job_store(
    path: Path,
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[JobStore] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open ``jobs.db`` and serve it until cancelled. Raises StateError if it cannot be used."""
    async with trio.open_nursery() as nursery:
        database = await nursery.start(lambda task_status: _serve(path, task_status))
        task_status.started(JobStore(database, clock=clock))


async def _serve(path: Path, task_status: trio.TaskStatus[Database]) -> None:
    await serve_database(
        path,
        JOBS_SCHEMA,
        synchronous="NORMAL",
        checkpoint_seconds=CHECKPOINT_SECONDS,
        task_status=task_status,
    )


def _save_lane(db: sqlite3.Connection, record: LaneRecord) -> None:
    known = _lane(db, record.payer, record.lane)
    values = {name: getattr(record, name) for name in _LANE}
    if known is not None and known.number > record.number:
        values |= {"total": known.total, "number": known.number, "voucher": known.voucher}
    db.execute(_SAVE_LANE, tuple(values.values()))


def _lane(db: sqlite3.Connection, payer: PeerId, lane: int) -> LaneRecord | None:
    sql = f"SELECT {', '.join(_LANE)} FROM lanes WHERE payer = ? AND lane = ?"
    row = db.execute(sql, (payer, lane)).fetchone()
    return None if row is None else _record(row)


def _record(row: tuple[Any, ...]) -> LaneRecord:
    return LaneRecord(**dict(zip(_LANE, row, strict=True)))


def _line_values(line: WorkLine) -> tuple[object, ...]:
    # Operations may be beyond 63 bits, which is all that SQLite's integers have.
    return tuple(str(line.operations) if name == "operations" else getattr(line, name) for name in _LINE)


def _line(row: tuple[Any, ...]) -> WorkLine:
    values = dict(zip(_LINE, row, strict=True))
    return WorkLine(**{**values, "operations": int(values["operations"])})


def _prune(db: sqlite3.Connection, before: float) -> None:
    db.execute("DELETE FROM receipts WHERE time < ?", (before,))
    db.execute("DELETE FROM work_lines WHERE time < ?", (before,))
    db.execute("DELETE FROM lanes WHERE state = 'settled' AND updated < ?", (before,))
