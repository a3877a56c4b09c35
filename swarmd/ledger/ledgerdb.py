"""``ledger.db``: what is certified, as far as this node knows. What a power cut takes of it, peers have."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from pathlib import Path

import trio

from swarmd.database import Database, serve_database
from swarmd.ledger.schemas import LEDGER_SCHEMA
from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.handover import Succession
from swarmd.protocols.records import from_value, to_value

CHUNK = 256
"""Heads that one read takes from the file."""
_MAX_SUCCESSION_BYTES = 1 << 16

# A head that arrives late never takes the place of a newer one.
_SAVE_HEAD = (
    "INSERT INTO heads (account, seq, raw) VALUES (?, ?, ?) "
    "ON CONFLICT (account) DO UPDATE SET seq = excluded.seq, raw = excluded.raw WHERE excluded.seq > seq"
)
_FIRST_SEEN = "INSERT INTO first_seen (account, seq, time) VALUES (?, ?, ?) ON CONFLICT DO NOTHING"
_SAVE_SUCCESSION = "INSERT INTO successions (number, raw) VALUES (?, ?) ON CONFLICT DO NOTHING"
_SAVE_PROOF = "INSERT INTO proofs (culprit, raw) VALUES (?, ?) ON CONFLICT DO NOTHING"


@dataclass(frozen=True, slots=True)
class StoredLedger:
    """All that the file holds."""

    heads: tuple[bytes, ...]
    """Certified heads in wire form, one for each account, by account."""
    proofs: tuple[tuple[PeerId, bytes], ...]
    """By culprit."""
    successions: tuple[Succession, ...]
    """By number of the new committee."""
    first_seen: dict[tuple[PeerId, int], float]
    """Unix time at which an account's unstaking entry was first seen certified."""


class LedgerStore:
    """Typed access to ``ledger.db``. Every method raises StateError when the disk or file fails."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def load(self) -> StoredLedger:
        """Everything; heads are read in chunks, so that no read is long."""
        heads: list[bytes] = []
        chunk = await self.heads()
        while chunk:
            heads += [raw for _, raw in chunk]
            chunk = await self.heads(after=chunk[-1][0])
        return await self._database.read(lambda db: _load(db, tuple(heads)))

    async def heads(self, *, after: str = "", limit: int = CHUNK) -> tuple[tuple[PeerId, bytes], ...]:
        """Accounts above ``after`` and their heads, in order."""
        sql = "SELECT account, raw FROM heads WHERE account > ? ORDER BY account LIMIT ?"
        rows = await self._database.read(lambda db: db.execute(sql, (after, limit)).fetchall())
        return tuple((PeerId(account), raw) for account, raw in rows)

    async def save_heads(self, heads: tuple[tuple[PeerId, int, bytes], ...]) -> None:
        """Keep certified heads (account, number, wire form); an older one changes nothing."""
        await self._database.write(lambda db: db.executemany(_SAVE_HEAD, heads))

    async def save_proof(self, culprit: PeerId, raw: bytes) -> None:
        """Keep the first proof against a culprit."""
        await self._database.write(lambda db: db.execute(_SAVE_PROOF, (culprit, raw)))

    async def save_succession(self, number: int, succession: Succession) -> None:
        """Keep what led to committee ``number``."""
        row = (number, encode(to_value(succession)))
        await self._database.write(lambda db: db.execute(_SAVE_SUCCESSION, row))

    async def first_seen(self, account: PeerId, seq: int, now: float) -> float:
        """When this unstaking was first seen certified: ``now`` if that is now. Kept until ``forget_seen``."""
        return await self._database.write(lambda db: _note_seen(db, account, seq, now))

    async def forget_seen(self, account: PeerId, seq: int) -> None:
        """The stake is released, or gone."""
        sql = "DELETE FROM first_seen WHERE account = ? AND seq = ?"
        await self._database.write(lambda db: db.execute(sql, (account, seq)))


async def serve_ledger_store(
    path: Path, *, task_status: trio.TaskStatus[LedgerStore] = trio.TASK_STATUS_IGNORED
) -> None:
    """Open ``ledger.db`` and serve it until cancelled. Raises StateError if it cannot be used."""
    async with trio.open_nursery() as nursery:
        database = await nursery.start(lambda task_status: _serve(path, task_status))
        task_status.started(LedgerStore(database))


async def _serve(path: Path, task_status: trio.TaskStatus[Database]) -> None:
    await serve_database(path, LEDGER_SCHEMA, synchronous="NORMAL", task_status=task_status)


def _load(db: sqlite3.Connection, heads: tuple[bytes, ...]) -> StoredLedger:
    proofs = db.execute("SELECT culprit, raw FROM proofs ORDER BY culprit").fetchall()
    chain = db.execute("SELECT raw FROM successions ORDER BY number").fetchall()
    seen = db.execute("SELECT account, seq, time FROM first_seen").fetchall()
    return StoredLedger(
        heads=heads,
        proofs=tuple((PeerId(culprit), raw) for culprit, raw in proofs),
        successions=tuple(from_value(Succession, decode(raw, limit=_MAX_SUCCESSION_BYTES)) for (raw,) in chain),
        first_seen={(PeerId(account), seq): time for account, seq, time in seen},
    )


def _note_seen(db: sqlite3.Connection, account: PeerId, seq: int, now: float) -> float:
    db.execute(_FIRST_SEEN, (account, seq, now))
    sql = "SELECT time FROM first_seen WHERE account = ? AND seq = ?"
    return float(db.execute(sql, (account, seq)).fetchone()[0])
