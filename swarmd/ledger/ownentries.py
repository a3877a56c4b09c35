"""The rows of our own chain in ``self.db``: at most one entry for each number, whatever happens.

Every function takes the open transaction it runs in.
"""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, fields
from typing import Any

from swarmd.protocols.errors import NotFound, StateError, UsageError
from swarmd.protocols.ids import EntryId
from swarmd.protocols.ledger.entry import SignedEntry

MIN_PREFIX = 4
"""Characters of an entry's id that name it, at least."""
MAX_LISTED = 1000
_MAX_DIGITS = 13


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnEntry:
    """An entry that we signed."""

    seq: int
    id: EntryId
    raw: bytes
    """As it was signed."""
    state: bytes
    """Canonical state after it."""
    evidence: bytes
    """Canonical Evidence that members were shown."""
    note: str
    """The user's words, never sent."""
    time: float
    """Unix seconds at which it was signed."""
    head: bytes
    """The certified wire form; empty while pending."""


_COLUMNS = ", ".join(part.name for part in fields(OwnEntry))
_INSERT = f"INSERT INTO entries ({_COLUMNS}) VALUES ({', '.join('?' * len(fields(OwnEntry)))})"


def add(db: sqlite3.Connection, signed: SignedEntry, own: OwnEntry) -> None:
    """Keep a new entry; the same one again changes nothing. Raises StateError for a second one of its number."""
    latest = newest(db)
    if latest is not None and own.seq <= latest.seq:
        known = by_seq(db, own.seq)
        if known is None or known.id != own.id:
            raise _second(own.seq)
        return
    if latest is not None and own.seq == latest.seq + 1 and signed.entry.prev != latest.id:
        raise StateError(
            f"entry {own.seq} does not follow the entry {latest.seq} that this node signed", hint=_ASK_PEERS
        )
    db.execute(_INSERT, tuple(getattr(own, part.name) for part in fields(OwnEntry)))


def certify(db: sqlite3.Connection, seq: int, head: bytes) -> None:
    """Keep an entry's certified form. Raises NotFound."""
    if db.execute("UPDATE entries SET head = ? WHERE seq = ?", (head, seq)).rowcount == 0:
        raise NotFound(f"this node has no entry {seq}", hint="list them: swarmd wallet history")


def newest(db: sqlite3.Connection) -> OwnEntry | None:
    """The entry of the highest number."""
    found = _select(db, "ORDER BY seq DESC LIMIT 1")
    return found[0] if found else None


def by_seq(db: sqlite3.Connection, seq: int) -> OwnEntry | None:
    """The entry of this number."""
    found = _select(db, "WHERE seq = ?", seq)
    return found[0] if found else None


def listed(db: sqlite3.Connection, before: int | None, limit: int) -> tuple[OwnEntry, ...]:
    """Entries below ``before``, newest first; at most MAX_LISTED."""
    clause = "WHERE ?1 IS NULL OR seq < ?1 ORDER BY seq DESC LIMIT ?2"
    return _select(db, clause, before, max(0, min(limit, MAX_LISTED)))


def find(db: sqlite3.Connection, prefix: str) -> OwnEntry:
    """The entry of this number, or whose id starts so. Raises NotFound, UsageError."""
    plain = prefix.strip().lower()
    is_number = plain.isascii() and plain.isdigit()
    numbered = by_seq(db, int(plain)) if is_number and len(plain) <= _MAX_DIGITS else None
    if numbered is not None:
        return numbered
    if len(plain) < MIN_PREFIX and not is_number:
        raise UsageError(
            f"{prefix!r} is too short for an entry", hint=f"give its number, or {MIN_PREFIX} characters of its id"
        )
    found = _select(db, "WHERE substr(id, 1, ?) = ? LIMIT 2", len(plain), plain) if len(plain) >= MIN_PREFIX else ()
    if len(found) > 1:
        raise UsageError(f"several entries start with {prefix}", hint="give more characters, or the entry's number")
    if not found:
        raise NotFound(f"this node has no entry {prefix}", hint="list them: swarmd wallet history")
    return found[0]


def prune(db: sqlite3.Connection, before: float) -> None:
    """Forget what was signed before Unix time ``before``, except for the newest two entries."""
    sql = "DELETE FROM entries WHERE time < ? AND seq NOT IN (SELECT seq FROM entries ORDER BY seq DESC LIMIT 2)"
    db.execute(sql, (before,))


_ASK_PEERS = "stop every other daemon of this account, then start this one again: it asks peers what was signed"


def _second(seq: int) -> StateError:
    return StateError(f"another entry {seq} was signed already: a second one is never signed", hint=_ASK_PEERS)


def _select(db: sqlite3.Connection, clause: str, *values: object) -> tuple[OwnEntry, ...]:
    return tuple(_entry(row) for row in db.execute(f"SELECT {_COLUMNS} FROM entries {clause}", values))


def _entry(row: tuple[Any, ...]) -> OwnEntry:
    return OwnEntry(**dict(zip((part.name for part in fields(OwnEntry)), row, strict=True)))
