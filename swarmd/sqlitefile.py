"""Opening a SQLite file: what it holds must be ours, whole and up to date, or an error says what is wrong."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from swarmd.protocols.errors import StateError

BUSY_SECONDS = 5.0
MAX_WAL_BYTES = 8 << 20
Synchronous: TypeAlias = Literal["FULL", "NORMAL"]
"""FULL: a commit survives a power cut. NORMAL: a power cut takes those since the last checkpoint; a kill takes none."""
_MOVE_AWAY = "stop the daemon, move the file away (with its -wal and -shm) and start again; results under runs/ stay"


@dataclass(frozen=True, slots=True)
class Schema:
    """What the file must be. ``migrations[n]`` is the SQL that leads from version n to n + 1."""

    application_id: int
    """31 bits that mark the file as this program's."""
    migrations: tuple[str, ...]
    cure: str = _MOVE_AWAY
    """What to do with a damaged file."""


def open_database(path: Path, schema: Schema, *, synchronous: Synchronous = "FULL") -> sqlite3.Connection:
    """A connection to the file, made or brought up to date; for any thread, one at a time.

    Raises:
        StateError: it cannot be opened, is damaged, is another program's, or is of a newer version.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, 0o600))
    except OSError as error:
        raise _cannot_open(path, error.strerror) from error
    with explained(path, schema.cure):
        connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        try:
            _check(connection, path, schema)
            _bring_up_to_date(connection, schema, synchronous)
        except BaseException:
            connection.close()
            raise
        return connection


def open_read_only(path: Path) -> sqlite3.Connection:
    """A connection that sees the last commit and cannot write. Raises sqlite3.Error."""
    address = f"{path.absolute().as_uri()}?mode=ro"
    return sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, isolation_level=None)


@contextmanager
def explained(path: Path, cure: str = _MOVE_AWAY) -> Iterator[None]:
    """Turn SQLite's errors into StateErrors that say the cure; ``cure`` is that of a damaged file."""
    try:
        yield
    except sqlite3.Error as error:
        raise _state_error(path, error, cure) from error


def roll_back(connection: sqlite3.Connection) -> None:
    """Give up the open transaction, if SQLite has not already."""
    if connection.in_transaction:
        with suppress(sqlite3.Error):
            connection.execute("ROLLBACK")


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if connection.execute("PRAGMA quick_check(1)").fetchone() != ("ok",):
        raise _damaged(path, schema.cure)
    owner, version = _number(connection, "application_id"), _number(connection, "user_version")
    empty = connection.execute("SELECT count(*) FROM sqlite_schema").fetchone() == (0,)
    if owner != schema.application_id and not empty:
        raise StateError(f"{path} is another program's database", hint="move it away and start again")
    if version > len(schema.migrations):
        raise StateError(
            f"{path} was written by a newer swarmd: schema {version}, not {len(schema.migrations)}",
            hint="upgrade swarmd, or choose another --state-dir",
        )


def _bring_up_to_date(connection: sqlite3.Connection, schema: Schema, synchronous: Synchronous) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={synchronous}")
    connection.execute(f"PRAGMA fullfsync={synchronous == 'FULL':d}")  # macOS empties the drive's cache only when told
    connection.execute("PRAGMA foreign_keys=ON")
    connection.execute(f"PRAGMA journal_size_limit={MAX_WAL_BYTES}")
    version = _number(connection, "user_version")
    mark = f"PRAGMA application_id={schema.application_id}"
    for number, script in enumerate(schema.migrations[version:], start=version + 1):
        try:
            connection.executescript(f"BEGIN IMMEDIATE;{mark};{script};PRAGMA user_version={number};COMMIT")
        except sqlite3.Error:
            roll_back(connection)
            raise


def _number(connection: sqlite3.Connection, pragma: str) -> int:
    return int(connection.execute(f"PRAGMA {pragma}").fetchone()[0])


def _state_error(path: Path, error: sqlite3.Error, cure: str) -> StateError:
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_FULL:
            return StateError(f"the disk is full: {path} cannot grow", hint="free disk space, then try again")
        case sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_NOTADB:
            return _damaged(path, cure)
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return _cannot_open(path, str(error))
        case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
            return StateError(f"another program holds {path}", hint="close what else has it open, then try again")
        case _:
            return StateError(f"{path} failed: {error}", hint="check the disk, then start the daemon again")


def _damaged(path: Path, cure: str) -> StateError:
    return StateError(f"{path} is damaged, or is no database", hint=cure)


def _cannot_open(path: Path, why: str | None) -> StateError:
    return StateError(
        f"cannot write {path}: {why}",
        hint=f"make {path.parent} writable for you, or choose another --state-dir",
    )
