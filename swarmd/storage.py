"""What a node remembers across restarts: its runs, their metrics, events, adverts of peers, and counters.

Every write is on disk when it returns. Nothing here grows without end: events and adverts keep their newest.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Protocol

import trio

from swarmd.database import Database, serve_database
from swarmd.protocols.control import STATES, EventView
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.ids import PeerId, RunId, SpecId
from swarmd.schema import NODE_SCHEMA

EVENTS_KEPT = 50_000
ADVERTS_KEPT = 2048
MIN_PREFIX = 4
"""Characters of a run's id that name it, at least."""

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """A run of ours."""

    id: RunId
    spec_id: SpecId
    spec: bytes
    """The job spec's canonical bytes."""
    signed: bytes
    """The submitter's signed statement of the run."""
    name: str
    state: str
    """One of ``protocols.control.STATES``."""
    code: str = ""
    """Of the error that ended it, as in ``protocols.errors``; else empty."""
    reason: str = ""
    term: int = 0
    step: int = 0
    """Steps done."""
    created: float
    """Unix time."""
    updated: float = 0.0
    """Unix time of the last write; filled in by the store."""
    directory: str
    extra: dict[str, Any] = field(default_factory=dict[str, Any])
    """Whatever else is to be known after a restart; JSON."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricRow:
    """What was measured of one step. None: not measured (a NaN is kept as None too)."""

    step: int
    time: float | None = None
    """Unix time."""
    loss: float | None = None
    held_out: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    tokens: int | None = None
    seconds: float | None = None


class StepFigures(Protocol):
    """The part of a row that a coordinator knows when a step ends."""

    @property
    def step(self) -> int: ...
    @property
    def time(self) -> float: ...
    @property
    def loss(self) -> float: ...
    @property
    def grad_norm(self) -> float: ...


_RUN = tuple(part.name for part in fields(StoredRun))
_METRIC = tuple(part.name for part in fields(MetricRow))
_SAVE_RUN = (
    f"INSERT INTO runs ({', '.join(_RUN)}) VALUES ({', '.join('?' * len(_RUN))}) "
    "ON CONFLICT (id) DO UPDATE SET " + ", ".join(f"{name} = excluded.{name}" for name in _RUN[1:])
)
_SET_STATE = (
    "UPDATE runs SET state = ?, code = ?, reason = ?, term = coalesce(?, term), step = coalesce(?, step), "
    "updated = ? WHERE id = ?"
)
# A step that is replayed after a failure, or evaluated later, replaces what it says and keeps the rest.
_SAVE_METRIC = (
    f"INSERT INTO metrics (run, {', '.join(_METRIC)}) VALUES (?, {', '.join('?' * len(_METRIC))}) "
    "ON CONFLICT (run, step) DO UPDATE SET "
    + ", ".join(f"{name} = coalesce(excluded.{name}, {name})" for name in _METRIC[1:])
)


class Storage:
    """Typed access to the node's database. Every method raises StateError when the disk or file fails."""

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    async def save_run(self, run: StoredRun) -> None:
        """Add a run, or replace all that is known of it. Raises UsageError for a state outside STATES."""
        _check_state(run.state)
        values = {name: getattr(run, name) for name in _RUN}
        values |= {"extra": json.dumps(run.extra), "updated": self._clock()}
        await self._database.write(lambda db: db.execute(_SAVE_RUN, tuple(values.values())))

    async def set_run_state(
        self,
        run: RunId,
        state: str,
        *,
        code: str = "",
        reason: str = "",
        term: int | None = None,
        step: int | None = None,
    ) -> None:
        """Move a run to a state; term and step stay as they are unless given. Raises NotFound, UsageError."""
        _check_state(state)
        row = (state, code, reason, term, step, self._clock(), run)
        if await self._database.write(lambda db: db.execute(_SET_STATE, row).rowcount) == 0:
            raise _no_run(run)

    async def runs(self) -> tuple[StoredRun, ...]:
        """Every run, newest first."""
        return await self._database.read(lambda db: _runs(db, "ORDER BY created DESC, id"))

    async def run(self, prefix: str) -> StoredRun:
        """The run whose id starts so. Raises NotFound, or UsageError where several do or it is too short."""
        if len(prefix) < MIN_PREFIX:
            raise UsageError(f"{prefix!r} is too short for a run", hint=f"give {MIN_PREFIX} characters or more")
        found = await self._database.read(
            lambda db: _runs(db, "WHERE substr(id, 1, ?) = ? LIMIT 2", len(prefix), prefix)
        )
        if len(found) > 1:
            raise UsageError(f"several runs start with {prefix}", hint="give more characters: swarmd jobs ls")
        if not found:
            raise _no_run(prefix)
        return found[0]

    async def append_metrics(self, run: RunId, rows: Iterable[MetricRow]) -> None:
        """Add rows; where a step has one, the new figures replace the old. Raises NotFound."""
        values = [_metric_values(run, row) for row in rows]
        try:
            await self._database.write(lambda db: _insert_metrics(db, values))
        except _UnknownRun:
            raise _no_run(run) from None

    def queue_metrics(self, run: RunId, figures: StepFigures) -> None:
        """Add a step's figures without waiting. Dropped, with a warning, if the writer's queue is full."""
        row = MetricRow(step=figures.step, time=figures.time, loss=figures.loss, grad_norm=figures.grad_norm)
        values = [_metric_values(run, row)]
        if not self._database.post(lambda db: _insert_metrics(db, values)):
            _logger.warning("figures of a step were dropped: the disk is too slow", extra={"run": run})

    async def metrics(self, run: RunId, *, first: int = 0) -> tuple[MetricRow, ...]:
        """The rows of a run from step ``first``, in the order of steps."""
        sql = f"SELECT {', '.join(_METRIC)} FROM metrics WHERE run = ? AND step >= ? ORDER BY step"
        rows = await self._database.read(lambda db: db.execute(sql, (run, first)).fetchall())
        return tuple(MetricRow(**dict(zip(_METRIC, row, strict=True))) for row in rows)

    async def append_event(self, event: EventView) -> int:
        """Keep an event; gives its number. Past EVENTS_KEPT the oldest go."""
        return await self._database.write(lambda db: _insert_event(db, event))

    async def events(
        self, run: str | None = None, *, after: int = 0, limit: int = 1000
    ) -> tuple[tuple[int, EventView], ...]:
        """The oldest events numbered above ``after``, with their numbers; of one run only if it is given."""
        sql = (
            "SELECT id, time, level, run, text FROM events WHERE id > ? AND (? IS NULL OR run = ?) ORDER BY id LIMIT ?"
        )
        rows = await self._database.read(lambda db: db.execute(sql, (after, run, run, limit)).fetchall())
        return tuple((row[0], EventView(time=row[1], level=row[2], run=row[3], text=row[4])) for row in rows)

    async def put_advert(self, peer: PeerId, raw: bytes) -> None:
        """Keep a peer's newest advert. Past ADVERTS_KEPT the longest unheard of go."""
        now = self._clock()
        await self._database.write(lambda db: _insert_advert(db, peer, raw, now))

    async def adverts(self) -> tuple[tuple[PeerId, bytes], ...]:
        """Peers and their adverts, latest heard of first, for a quick restart; some may have expired."""
        sql = "SELECT peer, raw FROM adverts ORDER BY updated DESC, peer"
        rows = await self._database.read(lambda db: db.execute(sql).fetchall())
        return tuple((PeerId(peer), raw) for peer, raw in rows)

    async def next_sequence(self, name: str) -> int:
        """A number above every one given for this name, on disk before it is returned.

        At least the Unix time in seconds, so that a lost database does not send a counter back to 1 while
        peers remember higher ones.
        """
        sql = (
            "INSERT INTO meta (name, value) VALUES (?, ?) "
            "ON CONFLICT (name) DO UPDATE SET value = max(value + 1, excluded.value) RETURNING value"
        )
        row = (name, int(self._clock()))
        return await self._database.write(lambda db: int(db.execute(sql, row).fetchone()[0]))


async def serve_storage(
    path: Path,
    *,
    clock: Callable[[], float] = time.time,
    task_status: trio.TaskStatus[Storage] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open the node's database and serve it until cancelled. Raises StateError if it cannot be used."""
    async with trio.open_nursery() as nursery:
        database = await nursery.start(serve_database, path, NODE_SCHEMA)
        task_status.started(Storage(database, clock=clock))


class _UnknownRun(Exception):
    """A row names a run that is not in the table."""


def _runs(db: sqlite3.Connection, clause: str, *values: object) -> tuple[StoredRun, ...]:
    rows = db.execute(f"SELECT {', '.join(_RUN)} FROM runs {clause}", values)
    return tuple(_stored_run(dict(zip(_RUN, row, strict=True))) for row in rows)


def _stored_run(row: dict[str, Any]) -> StoredRun:
    return StoredRun(**{**row, "extra": json.loads(row["extra"])})


def _metric_values(run: RunId, row: MetricRow) -> tuple[object, ...]:
    return (run, *(getattr(row, name) for name in _METRIC))


def _insert_metrics(db: sqlite3.Connection, values: list[tuple[object, ...]]) -> None:
    try:
        db.executemany(_SAVE_METRIC, values)
    except sqlite3.IntegrityError as error:
        raise _UnknownRun from error


def _insert_event(db: sqlite3.Connection, event: EventView) -> int:
    row = (event.time, event.level, event.run, event.text)
    number = db.execute("INSERT INTO events (time, level, run, text) VALUES (?, ?, ?, ?)", row).lastrowid or 0
    db.execute("DELETE FROM events WHERE id <= ?", (number - EVENTS_KEPT,))
    return number


def _insert_advert(db: sqlite3.Connection, peer: PeerId, raw: bytes, now: float) -> None:
    db.execute("INSERT OR REPLACE INTO adverts (peer, raw, updated) VALUES (?, ?, ?)", (peer, raw, now))
    db.execute(
        "DELETE FROM adverts WHERE peer IN (SELECT peer FROM adverts ORDER BY updated DESC, peer LIMIT -1 OFFSET ?)",
        (ADVERTS_KEPT,),
    )


def _check_state(state: str) -> None:
    if state not in STATES:
        raise UsageError(f"{state!r} is no state of a run", hint="one of " + ", ".join(STATES))


def _no_run(run: str) -> NotFound:
    return NotFound(f"there is no run {run}", hint="list them: swarmd jobs ls")
