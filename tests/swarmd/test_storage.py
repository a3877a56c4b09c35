"""What a node stores is on disk when the call returns, survives a kill, and every failure says its cure."""

from __future__ import annotations

import math
import os
import re
import signal
import sqlite3
import subprocess
import sys
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, replace

import pytest
import trio
import trio.testing

from swarmd.database import BATCH, QUEUE, serve_database
from swarmd.protocols.control import EventView
from swarmd.protocols.errors import NotFound, StateError, UsageError
from swarmd.protocols.ids import PeerId, RunId, SpecId
from swarmd.schema import NODE_SCHEMA
from swarmd.sqlitefile import Schema, open_database
from swarmd.storage import MetricRow, StoredRun, serve_storage

RUN = StoredRun(
    id=RunId("ab" * 32),
    spec_id=SpecId("cd" * 32),
    spec=b"\0spec",
    signed=b"\xffsigned",
    name="demo",
    state="preparing",
    created=100.0,
    directory="/runs/ab",
    extra={"plan": [1, 2], "note": None},
)
OTHER = replace(RUN, id=RunId("ac" * 32), created=200.0)


class Clock:
    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        return self.now


@asynccontextmanager
async def opened(path, clock=None):
    async with trio.open_nursery() as nursery:
        yield await nursery.start(
            lambda task_status: serve_storage(path, clock=clock or Clock(), task_status=task_status)
        )
        nursery.cancel_scope.cancel()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "node.db"


async def test_a_run_comes_back_as_it_was_saved(path):
    async with opened(path) as store:
        await store.save_run(RUN)
    async with opened(path) as store:
        assert await store.run(RUN.id) == replace(RUN, updated=1000.0)


async def test_runs_are_listed_newest_first(path):
    async with opened(path) as store:
        await store.save_run(RUN)
        await store.save_run(OTHER)
        assert [run.id for run in await store.runs()] == [OTHER.id, RUN.id]


async def test_saving_again_replaces(path):
    async with opened(path) as store:
        await store.save_run(RUN)
        await store.save_run(replace(RUN, term=3, extra={}))
        (run,) = await store.runs()
        assert (run.term, run.extra) == (3, {})


async def test_a_state_change_keeps_what_it_does_not_name(path):
    clock = Clock()
    async with opened(path, clock) as store:
        await store.save_run(replace(RUN, term=2, step=7))
        clock.now = 2000.0
        await store.set_run_state(RUN.id, "failed", code="peer_lost", reason="the peer left", step=8)
        run = await store.run(RUN.id)
        assert (run.state, run.code, run.reason) == ("failed", "peer_lost", "the peer left")
        assert (run.term, run.step, run.updated, run.spec) == (2, 8, 2000.0, RUN.spec)


async def test_a_state_outside_the_contract_is_refused(path):
    async with opened(path) as store:
        with pytest.raises(UsageError, match="no state"):
            await store.save_run(replace(RUN, state="dancing"))
        with pytest.raises(UsageError, match="no state"):
            await store.set_run_state(RUN.id, "dancing")


async def test_a_unique_prefix_names_a_run(path):
    async with opened(path) as store:
        await store.save_run(RUN)
        await store.save_run(replace(OTHER, id=RunId("ab" * 8 + "ff" * 24)))
        assert (await store.run("ab" * 8 + "a")).id == RUN.id
        with pytest.raises(UsageError, match="several runs"):
            await store.run("abab")
        with pytest.raises(UsageError, match="too short"):
            await store.run("ab")


@pytest.mark.parametrize("text", ["ffff", "%%%%", "____", "ab' OR 1=1 --"])
async def test_a_run_that_is_not_there_is_not_found(path, text):
    async with opened(path) as store:
        await store.save_run(RUN)
        with pytest.raises(NotFound, match="there is no run"):
            await store.run(text)
        with pytest.raises(NotFound, match="there is no run"):
            await store.set_run_state(RunId(text), "done")
        with pytest.raises(NotFound, match="there is no run"):
            await store.append_metrics(RunId(text), [MetricRow(step=1)])


async def test_metrics_come_back_in_the_order_of_steps_bit_for_bit(path):
    rows = [MetricRow(step=step, time=1.5, loss=math.pi / step, tokens=64) for step in (3, 1, 2)]
    async with opened(path) as store:
        await store.save_run(RUN)
        await store.append_metrics(RUN.id, rows)
        assert await store.metrics(RUN.id) == tuple(sorted(rows, key=lambda row: row.step))
        assert [row.step for row in await store.metrics(RUN.id, first=2)] == [2, 3]


async def test_figures_of_one_step_that_come_apart_are_joined_and_a_replay_replaces(path):
    async with opened(path) as store:
        await store.save_run(RUN)
        await store.append_metrics(RUN.id, [MetricRow(step=1, loss=4.0, seconds=2.0)])
        await store.append_metrics(RUN.id, [MetricRow(step=1, held_out=4.5)])
        await store.append_metrics(RUN.id, [MetricRow(step=1, seconds=3.0)])
        assert await store.metrics(RUN.id) == (MetricRow(step=1, loss=4.0, held_out=4.5, seconds=3.0),)


async def test_a_loss_that_is_no_number_is_kept_as_unknown_and_an_infinite_one_as_it_is(path):
    async with opened(path) as store:
        await store.save_run(RUN)
        await store.append_metrics(RUN.id, [MetricRow(step=1, loss=math.nan), MetricRow(step=2, loss=math.inf)])
        assert [row.loss for row in await store.metrics(RUN.id)] == [None, math.inf]


@dataclass(frozen=True)
class Figures:
    step: int
    time: float = 1.0
    loss: float = 2.0
    grad_norm: float = 3.0


async def test_queued_figures_are_written_before_any_later_write(path):
    async with opened(path) as store:
        await store.save_run(RUN)
        store.queue_metrics(RUN.id, Figures(4))
        await store.next_sequence("x")
        assert await store.metrics(RUN.id) == (MetricRow(step=4, time=1.0, loss=2.0, grad_norm=3.0),)


async def test_queued_figures_never_wait_and_are_dropped_with_a_warning(path, caplog):
    async with opened(path) as store:
        await store.save_run(RUN)
        for step in range(QUEUE + 2):
            store.queue_metrics(RUN.id, Figures(step))
        await store.next_sequence("x")
        assert QUEUE <= len(await store.metrics(RUN.id)) < QUEUE + 2
    assert "dropped" in caplog.text


async def test_queued_figures_of_an_unknown_run_are_a_warning_only(path, caplog):
    async with opened(path) as store:
        store.queue_metrics(RUN.id, Figures(1))
        await store.next_sequence("x")
    assert "not kept" in caplog.text


def _event(number, run=""):
    return EventView(time=float(number), level="info", run=run, text=f"event {number}")


async def test_events_are_numbered_and_read_from_any_point(path):
    async with opened(path) as store:
        numbers = [await store.append_event(_event(n, run="r" if n % 2 else "")) for n in range(6)]
        assert numbers == sorted(set(numbers))
        assert [event for _, event in await store.events()] == [_event(n, run="r" if n % 2 else "") for n in range(6)]
        assert [event.text for _, event in await store.events("r", after=numbers[1])] == [
            "event 3",
            "event 5",
        ]
        assert len(await store.events(limit=2)) == 2


async def test_the_oldest_events_go_and_numbers_are_never_used_again(path, monkeypatch):
    monkeypatch.setattr("swarmd.storage.EVENTS_KEPT", 3)
    async with opened(path) as store:
        last = [await store.append_event(_event(n)) for n in range(5)][-1]
        assert [event.text for _, event in await store.events()] == ["event 2", "event 3", "event 4"]
    async with opened(path) as store:
        assert await store.append_event(_event(9)) == last + 1


async def test_adverts_are_replaced_and_the_longest_unheard_of_go(path, monkeypatch):
    monkeypatch.setattr("swarmd.storage.ADVERTS_KEPT", 2)
    clock = Clock()
    async with opened(path, clock) as store:
        for peer, raw in (("a", b"1"), ("b", b"2"), ("a", b"3"), ("c", b"4")):
            clock.now += 1
            await store.put_advert(PeerId(peer), raw)
        assert await store.adverts() == (("c", b"4"), ("a", b"3"))


async def test_a_sequence_only_rises_even_when_the_clock_goes_back_or_the_node_restarts(path):
    clock, given = Clock(), []
    for now in (1000.0, 500.0, 2000.0):
        clock.now = now
        async with opened(path, clock) as store:
            given += [await store.next_sequence("advert") for _ in range(3)]
    assert given == [1000, 1001, 1002, 1003, 1004, 1005, 2000, 2001, 2002]


async def test_a_lost_database_does_not_send_a_sequence_back(path):
    clock = Clock()
    async with opened(path, clock) as store:
        before = await store.next_sequence("advert")
    path.unlink()
    clock.now += 1
    async with opened(path, clock) as store:
        assert await store.next_sequence("advert") > before


async def test_concurrent_writers_are_all_answered_and_share_commits(path):
    async with opened(path) as store:
        given = []

        async def take():
            given.append(await store.next_sequence("x"))

        async with trio.open_nursery() as nursery:
            for _ in range(3 * BATCH):
                nursery.start_soon(take)
        assert sorted(given) == list(range(1000, 1000 + 3 * BATCH))


NOTES = Schema(7, ("CREATE TABLE notes (text TEXT UNIQUE)",))


@asynccontextmanager
async def notes(path, schema=NOTES):
    async with trio.open_nursery() as nursery:
        yield await nursery.start(serve_database, path, schema)
        nursery.cancel_scope.cancel()


def _note(text):
    return lambda db: db.execute("INSERT INTO notes VALUES (?)", (text,)).rowcount


def _texts(db):
    return [text for (text,) in db.execute("SELECT text FROM notes ORDER BY text")]


async def test_a_write_that_fails_leaves_nothing_of_itself_and_all_of_its_neighbours(path):
    def half(db):
        db.execute("INSERT INTO notes VALUES ('half')")
        raise KeyError("a fault in the caller's own code")

    async with notes(path) as db, trio.open_nursery() as nursery:
        nursery.start_soon(db.write, _note("before"))
        with pytest.raises(KeyError):
            await db.write(half)
        await db.write(_note("after"))
        assert await db.read(_texts) == ["after", "before"]


async def test_a_constraint_that_does_not_hold_is_the_caller_s_error(path):
    async with notes(path) as db:
        await db.write(_note("one"))
        with pytest.raises(StateError, match="UNIQUE"):
            await db.write(_note("one"))


async def test_a_reader_cannot_write(path):
    async with notes(path) as db:
        with pytest.raises(StateError, match="readonly"):
            await db.read(_note("no"))


async def test_after_the_end_every_writer_is_told_and_none_waits_for_ever(path):
    async with notes(path) as db:
        pass
    with pytest.raises(StateError, match="closed"), trio.fail_after(30):
        await db.write(_note("late"))
    assert not db.post(_note("late"))


async def test_writers_that_wait_when_the_database_ends_are_told(path):
    told = []

    async def write(db):
        try:
            await db.write(_note("x"))
        except StateError as error:
            told.append(error.message)

    async with trio.open_nursery() as nursery:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as service:
                db = await service.start(serve_database, path, NOTES)
                for _ in range(QUEUE * 2):
                    nursery.start_soon(write, db)
                scope.cancel()
    assert len(told) >= QUEUE * 2 - BATCH


async def test_a_full_disk_is_said_and_the_database_works_again_once_there_is_room(path):
    async with notes(path) as db:
        await db.write(_note("kept"))
        await db.write(lambda c: c.execute("PRAGMA max_page_count = 4"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_expect_full, db, "x" * 50_000)
            nursery.start_soon(_expect_full, db, "y" * 50_000)
        await db.write(lambda c: c.execute("PRAGMA max_page_count = 100000"))
        await db.write(_note("room"))
        assert await db.read(_texts) == ["kept", "room"]


async def _expect_full(db, text):
    with pytest.raises(StateError, match="disk is full") as caught:
        await db.write(_note(text))
    assert "free disk space" in caught.value.hint


def _filled(path):
    with closing(open_database(path, NOTES)) as db:
        db.execute("BEGIN")
        db.executemany("INSERT INTO notes VALUES (?)", [(f"{n:0200}",) for n in range(500)])
        db.execute("COMMIT")


@pytest.mark.parametrize("harm", ["noise", "page", "truncated"])
async def test_a_damaged_file_is_refused_with_advice_and_left_as_it_is(path, harm):
    _filled(path)
    raw = path.read_bytes()
    page = raw[: 4096 * 5] + b"\xa5" * 4096 * 3 + raw[4096 * 8 :]
    path.write_bytes({"noise": b"\x5a" * 20_000, "page": page, "truncated": raw[:-8192]}[harm])
    before = path.read_bytes()
    with pytest.raises(StateError, match="is damaged") as caught:
        open_database(path, NOTES)
    assert "move the file away" in caught.value.hint
    assert path.read_bytes() == before


def test_a_file_that_another_program_holds_is_said(path, monkeypatch):
    monkeypatch.setattr("swarmd.sqlitefile.BUSY_SECONDS", 0.0)
    with closing(open_database(path, NOTES)) as db:
        db.execute("PRAGMA locking_mode = EXCLUSIVE")
        db.execute("INSERT INTO notes VALUES ('mine')")
        with pytest.raises(StateError, match="another program holds"):
            open_database(path, NOTES)


def test_a_newer_file_is_refused(path):
    open_database(path, replace(NOTES, migrations=(*NOTES.migrations, "CREATE TABLE more (a)"))).close()
    with pytest.raises(StateError, match="newer swarmd") as caught:
        open_database(path, NOTES)
    assert "upgrade" in caught.value.hint


def test_another_program_s_database_is_refused(path):
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE theirs (a)")
    with pytest.raises(StateError, match="another program's"):
        open_database(path, NOTES)


def test_an_older_file_is_brought_up_to_date_with_its_rows(path):
    _filled(path)
    newer = replace(NOTES, migrations=(*NOTES.migrations, "ALTER TABLE notes ADD COLUMN mark INTEGER DEFAULT 5"))
    with closing(open_database(path, newer)) as db:
        assert db.execute("SELECT count(*), min(mark) FROM notes").fetchone() == (500, 5)
    with closing(open_database(path, newer)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (2,)


def test_a_migration_that_fails_changes_nothing(path):
    _filled(path)
    broken = replace(NOTES, migrations=(*NOTES.migrations, "CREATE TABLE more (a); NONSENSE"))
    with pytest.raises(StateError, match="syntax error"):
        open_database(path, broken)
    with closing(open_database(path, NOTES)) as db:
        assert db.execute("SELECT name FROM sqlite_schema WHERE type = 'table'").fetchall() == [("notes",)]


@pytest.mark.parametrize("place", ["missing/node.db", "file/node.db", "folder"])
def test_a_place_that_cannot_be_written_is_said(tmp_path, place):
    (tmp_path / "file").touch()
    (tmp_path / "folder").mkdir()
    with pytest.raises(StateError, match="cannot write") as caught:
        open_database(tmp_path / place, NOTES)
    assert "--state-dir" in caught.value.hint


def test_a_read_only_folder_is_said(tmp_path):
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere")
    tmp_path.chmod(0o500)
    with pytest.raises(StateError, match="cannot write"):
        open_database(tmp_path / "node.db", NOTES)
    tmp_path.chmod(0o700)


async def test_a_service_that_cannot_start_says_so_to_whoever_starts_it(tmp_path):
    with pytest.raises(ExceptionGroup) as caught:
        async with opened(tmp_path / "missing" / "node.db"):
            pass
    assert caught.group_contains(StateError, match="cannot write")


def test_the_file_is_ours_alone_and_syncs_every_commit(path):
    with closing(open_database(path, NODE_SCHEMA)) as db:
        assert db.execute("PRAGMA synchronous").fetchone() == (2,)
        assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert path.stat().st_mode & 0o777 == 0o600


_WRITER = """
import sys, trio, pathlib
from swarmd.storage import serve_storage

async def main():
    async with trio.open_nursery() as nursery:
        store = await nursery.start(serve_storage, pathlib.Path(sys.argv[1]))
        for _ in range(4):
            nursery.start_soon(take, store)

async def take(store):
    while True:
        print(await store.next_sequence("x"), flush=True)

trio.run(main)
"""


@pytest.mark.slow
def test_a_killed_node_never_gives_a_number_twice(path):
    given = []
    for kill_after in (1, 7, 40, 200):
        with subprocess.Popen([sys.executable, "-c", _WRITER, str(path)], stdout=subprocess.PIPE) as node:
            lines = [node.stdout.readline() for _ in range(kill_after)]
            node.send_signal(signal.SIGKILL)
            lines += re.findall(rb"\d+\n", node.stdout.read())
        given += [int(line) for line in lines]
        with closing(open_database(path, NODE_SCHEMA)) as db:
            assert db.execute("SELECT value FROM meta").fetchone()[0] >= max(given)
    assert len(given) == len(set(given))
