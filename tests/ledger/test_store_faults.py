"""A full disk, a read-only file, a damaged or a newer one: said with the cure, and nothing is half done."""

from __future__ import annotations

import os
import sqlite3
from contextlib import asynccontextmanager, closing
from dataclasses import replace

import pytest

from swarmd.ledger.jobsdb import serve_job_store
from swarmd.ledger.ledgerdb import serve_ledger_store
from swarmd.ledger.schemas import JOBS_SCHEMA, LEDGER_SCHEMA, SELF_SCHEMA
from swarmd.ledger.selfdb import serve_self_store
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import PeerId
from swarmd.sqlitefile import open_database
from tests.ledger.statements import ANNA, entry, entry_vote, self_store, served
from tests.ledger.test_job_store import LANE

STORES = {
    "self": (serve_self_store, SELF_SCHEMA, "swarmd key restore"),
    "ledger": (serve_ledger_store, LEDGER_SCHEMA, "comes back from peers"),
    "jobs": (serve_job_store, JOBS_SCHEMA, "keep a copy"),
}


@pytest.fixture(params=STORES)
def kind(request):
    return request.param


@pytest.fixture
def path(tmp_path, kind):
    return tmp_path / f"{kind}.db"


@asynccontextmanager
async def opened(kind, path):
    async with served(STORES[kind][0], path) as store:
        yield store


async def fill(kind, store, count=200):
    """Write something of some size, ``count`` times."""
    for n in range(1, count + 1):
        await WRITE[kind](store, n)


async def write_self(store, n):
    await store.cast_entry(entry_vote(n), bytes(2000))


async def write_ledger(store, n):
    await store.save_heads(((PeerId(f"peer {n}"), 1, bytes(2000)),))


async def write_jobs(store, n):
    await store.save_lane(replace(LANE, lane=n, voucher=bytes(2000)))


WRITE = {"self": write_self, "ledger": write_ledger, "jobs": write_jobs}


async def test_each_store_syncs_as_often_as_what_it_holds_needs(kind, path):
    async with opened(kind, path) as store:
        full = await store._database.write(lambda db: db.execute("PRAGMA synchronous").fetchone()[0])
        assert full == (2 if kind == "self" else 1)


async def test_a_full_disk_is_said_and_the_store_works_again_once_there_is_room(kind, path):
    async with opened(kind, path) as store:
        await store._database.write(lambda db: db.execute("PRAGMA max_page_count = 60"))
        with pytest.raises(StateError, match="disk is full") as caught:
            await fill(kind, store)
        assert "free disk space" in caught.value.hint
        await store._database.write(lambda db: db.execute("PRAGMA max_page_count = 100000"))
        await fill(kind, store)


async def test_an_entry_that_the_full_disk_did_not_take_is_not_there(tmp_path):
    path = tmp_path / "self.db"
    async with self_store(path) as store:
        await store.add_entry(entry(1), b"state", b"", "", 0.0)
        await store._database.write(lambda db: db.execute("PRAGMA max_page_count = 25"))
        with pytest.raises(StateError, match="disk is full"):
            await store.add_entry(entry(2), bytes(100_000), b"", "", 0.0)
        with pytest.raises(StateError, match="disk is full"):
            await store.cast_entry(entry_vote(1), bytes(100_000))
    async with self_store(path) as store:
        assert (await store.newest()).seq == 1
        assert await store.entry_vote(ANNA.peer, 1) is None


async def test_a_disk_that_becomes_read_only_is_said(kind, path):
    async with opened(kind, path) as store:
        await WRITE[kind](store, 1)
        await store._database.write(lambda db: db.execute("PRAGMA query_only = ON"))
        with pytest.raises(StateError, match="cannot write"):
            await WRITE[kind](store, 2)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
async def test_a_read_only_file_is_said(kind, path):
    open_database(path, STORES[kind][1]).close()
    path.chmod(0o400)
    with pytest.RaisesGroup(pytest.RaisesExc(StateError, match="cannot write"), flatten_subgroups=True):
        async with opened(kind, path):
            pass


async def test_a_damaged_page_is_refused_with_what_to_do_about_this_file(kind, path):
    async with opened(kind, path) as store:
        await fill(kind, store, 100)
    raw = path.read_bytes()
    path.write_bytes(raw[: 4096 * 12] + b"\xa5" * 4096 * 30 + raw[4096 * 42 :])
    with pytest.RaisesGroup(pytest.RaisesExc(StateError, match="is damaged"), flatten_subgroups=True) as caught:
        async with opened(kind, path):
            pass
    assert STORES[kind][2] in first(caught.value).hint


async def test_a_page_damaged_while_the_daemon_runs_is_said_with_the_same_cure(kind, path):
    async with opened(kind, path) as store:
        await fill(kind, store, 100)
    raw = path.read_bytes()
    async with opened(kind, path) as store:
        path.write_bytes(raw[:4096] + b"\xa5" * (len(raw) - 4096))
        with pytest.raises(StateError, match="is damaged") as caught:
            await store._database.read(lambda db: db.execute(f"SELECT * FROM {TABLE[kind]}").fetchall())
        assert STORES[kind][2] in caught.value.hint


TABLE = {"self": "entry_votes", "ledger": "heads", "jobs": "lanes"}


async def test_a_file_of_a_newer_version_is_refused_and_left_as_it_is(kind, path):
    schema = STORES[kind][1]
    open_database(path, replace(schema, migrations=(*schema.migrations, "CREATE TABLE more (a)"))).close()
    before = path.read_bytes()
    with pytest.RaisesGroup(pytest.RaisesExc(StateError, match="newer swarmd"), flatten_subgroups=True):
        async with opened(kind, path):
            pass
    assert path.read_bytes() == before


async def test_an_older_file_is_brought_up_to_date_with_its_rows(kind, path):
    async with opened(kind, path) as store:
        await fill(kind, store, 3)
    schema = STORES[kind][1]
    newer = replace(schema, migrations=(*schema.migrations, f"ALTER TABLE {TABLE[kind]} ADD COLUMN more DEFAULT 5"))
    with closing(open_database(path, newer)) as db:
        assert db.execute(f"SELECT count(*), min(more) FROM {TABLE[kind]}").fetchone() == (3, 5)


async def test_a_file_of_another_kind_is_refused(kind, path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    with pytest.RaisesGroup(pytest.RaisesExc(StateError, match="another program's"), flatten_subgroups=True):
        async with opened(kind, path):
            pass


def first(error):
    """The first exception in a group of groups."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
