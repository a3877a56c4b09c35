"""The tables of ``node.db``, as the list of steps that lead to them.

A step, once released, never changes; a new version appends one.
"""

from __future__ import annotations

from swarmd.sqlitefile import Schema

_FIRST = """
CREATE TABLE runs (
    id TEXT PRIMARY KEY,
    spec_id TEXT NOT NULL,
    spec BLOB NOT NULL,
    signed BLOB NOT NULL,
    name TEXT NOT NULL,
    state TEXT NOT NULL,
    code TEXT NOT NULL,
    reason TEXT NOT NULL,
    term INTEGER NOT NULL,
    step INTEGER NOT NULL,
    created REAL NOT NULL,
    updated REAL NOT NULL,
    directory TEXT NOT NULL,
    extra TEXT NOT NULL
) WITHOUT ROWID;
CREATE TABLE metrics (
    run TEXT NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
    step INTEGER NOT NULL,
    time REAL,
    loss REAL,
    held_out REAL,
    lr REAL,
    grad_norm REAL,
    tokens INTEGER,
    seconds REAL,
    PRIMARY KEY (run, step)
) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    time REAL NOT NULL,
    level TEXT NOT NULL,
    run TEXT NOT NULL,
    text TEXT NOT NULL
);
CREATE INDEX events_of_run ON events (run, id);
CREATE TABLE adverts (
    peer TEXT PRIMARY KEY,
    raw BLOB NOT NULL,
    updated REAL NOT NULL
) WITHOUT ROWID;
CREATE TABLE meta (
    name TEXT PRIMARY KEY,
    value INTEGER NOT NULL
) WITHOUT ROWID;
"""

NODE_SCHEMA = Schema(application_id=0x73776D64, migrations=(_FIRST,))
