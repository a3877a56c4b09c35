"""The tables of ``self.db``, ``ledger.db`` and ``jobs.db``, as the lists of steps that lead to them.

A step, once released, never changes; a new version appends one.
"""

from __future__ import annotations

from swarmd.ledger.ownership import OWNER_TABLE
from swarmd.sqlitefile import Schema

HISTORY_SECONDS = 90 * 86_400.0
"""For this long a node keeps its own entries, and the receipts and lines of what was paid."""

# Entries and votes hold whole signed statements, so that what was said can be said again, byte for byte.
_SELF = """
CREATE TABLE entries (
    seq INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    raw BLOB NOT NULL,
    state BLOB NOT NULL,
    evidence BLOB NOT NULL,
    note TEXT NOT NULL,
    time REAL NOT NULL,
    head BLOB NOT NULL
);
CREATE TABLE entry_votes (
    account TEXT NOT NULL,
    seq INTEGER NOT NULL,
    vote BLOB NOT NULL,
    entry BLOB NOT NULL,
    PRIMARY KEY (account, seq)
) WITHOUT ROWID;
CREATE TABLE inherited_entries (
    account TEXT NOT NULL,
    seq INTEGER NOT NULL,
    id TEXT NOT NULL,
    PRIMARY KEY (account, seq)
) WITHOUT ROWID;
CREATE TABLE floors (
    account TEXT PRIMARY KEY,
    seq INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE lane_marks (
    payer TEXT NOT NULL,
    lane INTEGER NOT NULL,
    highest INTEGER NOT NULL,
    voucher BLOB NOT NULL,
    closed INTEGER NOT NULL,
    release BLOB NOT NULL,
    vote BLOB NOT NULL,
    closed_before INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (payer, lane)
) WITHOUT ROWID;
CREATE TABLE settled_lanes (
    payer TEXT NOT NULL,
    first INTEGER NOT NULL,
    last INTEGER NOT NULL,
    PRIMARY KEY (payer, first)
) WITHOUT ROWID;
CREATE TABLE handovers (
    number INTEGER PRIMARY KEY,
    handover BLOB NOT NULL,
    report BLOB NOT NULL
);
CREATE TABLE inherited (number INTEGER PRIMARY KEY);
CREATE TABLE carried (entry BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

_LEDGER = """
CREATE TABLE heads (
    account TEXT PRIMARY KEY,
    seq INTEGER NOT NULL,
    raw BLOB NOT NULL
);
CREATE TABLE proofs (
    culprit TEXT PRIMARY KEY,
    raw BLOB NOT NULL
);
CREATE TABLE successions (
    number INTEGER PRIMARY KEY,
    raw BLOB NOT NULL
);
CREATE TABLE first_seen (
    account TEXT NOT NULL,
    seq INTEGER NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (account, seq)
) WITHOUT ROWID;
"""

_JOBS = """
CREATE TABLE lanes (
    payer TEXT NOT NULL,
    lane INTEGER NOT NULL,
    run TEXT NOT NULL,
    provider TEXT NOT NULL,
    role TEXT NOT NULL,
    price INTEGER NOT NULL,
    cap INTEGER NOT NULL,
    expires INTEGER NOT NULL,
    total INTEGER NOT NULL,
    number INTEGER NOT NULL,
    voucher BLOB NOT NULL,
    release BLOB NOT NULL,
    claim BLOB NOT NULL,
    state TEXT NOT NULL,
    stage TEXT NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    PRIMARY KEY (payer, lane)
) WITHOUT ROWID;
CREATE INDEX lanes_of_run ON lanes (run);
CREATE TABLE receipts (
    payer TEXT NOT NULL,
    lane INTEGER NOT NULL,
    number INTEGER NOT NULL,
    place INTEGER NOT NULL,
    raw BLOB NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (payer, lane, number, place),
    FOREIGN KEY (payer, lane) REFERENCES lanes (payer, lane) ON DELETE CASCADE
);
CREATE INDEX receipts_by_time ON receipts (time);
CREATE TABLE work_lines (
    payer TEXT NOT NULL,
    lane INTEGER NOT NULL,
    voucher INTEGER NOT NULL,
    place INTEGER NOT NULL,
    run TEXT NOT NULL,
    term INTEGER NOT NULL,
    stage INTEGER NOT NULL,
    provider TEXT NOT NULL,
    first_layer INTEGER NOT NULL,
    last_layer INTEGER NOT NULL,
    first_step INTEGER NOT NULL,
    end_step INTEGER NOT NULL,
    forwards INTEGER NOT NULL,
    backwards INTEGER NOT NULL,
    operations TEXT NOT NULL,
    amount INTEGER NOT NULL,
    work_root BLOB NOT NULL,
    time REAL NOT NULL,
    PRIMARY KEY (payer, lane, voucher, place),
    FOREIGN KEY (payer, lane) REFERENCES lanes (payer, lane) ON DELETE CASCADE
);
CREATE INDEX work_lines_of_run ON work_lines (run);
CREATE INDEX work_lines_by_time ON work_lines (time);
"""

SELF_SCHEMA = Schema(
    application_id=0x7377_6D73,
    migrations=(_SELF, OWNER_TABLE),
    cure=(
        "put this node's newest backup in its place: swarmd key restore FILE --force moves what is there aside. "
        "Do not start without this file: the node would forget what it signed"
    ),
)
LEDGER_SCHEMA = Schema(
    application_id=0x7377_6D6C,
    migrations=(_LEDGER, OWNER_TABLE),
    cure="stop the daemon, move the file away (with its -wal and -shm) and start again: it comes back from peers",
)
JOBS_SCHEMA = Schema(
    application_id=0x7377_6D6A,
    migrations=(_JOBS, OWNER_TABLE),
    cure=(
        "stop the daemon, keep a copy of the file, move it away (with its -wal and -shm) and start again; "
        "vouchers that only it held are lost"
    ),
)
