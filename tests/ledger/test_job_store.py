"""Lanes, vouchers, receipts and lines of invoices: whole, in step with each other, and never going back."""

from __future__ import annotations

import shutil
from contextlib import closing
from dataclasses import replace

import pytest
import trio

from swarmd.ledger.jobsdb import CHECKPOINT_SECONDS, LaneRecord, WorkLine, serve_job_store
from swarmd.ledger.schemas import JOBS_SCHEMA
from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.ids import RunId
from swarmd.sqlitefile import open_database
from tests.ledger.statements import ANNA, BERT, RUN, served

LANE = LaneRecord(
    payer=ANNA.peer,
    lane=1,
    run=RUN,
    provider=BERT.peer,
    role="payer",
    price=3,
    cap=1000,
    expires=500,
    stage="stage 1, layers 2-3",
    created=10.0,
    updated=10.0,
)
OTHER = replace(LANE, lane=2, run=RunId("cd" * 32), role="provider", state="settled", created=20.0)
LINE = WorkLine(
    run=RUN,
    term=1,
    stage=1,
    provider=BERT.peer,
    first_layer=2,
    last_layer=3,
    first_step=0,
    end_step=8,
    forwards=32,
    backwards=32,
    operations=10**30,
    amount=7,
    voucher=1,
    work_root=bytes(32),
)


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    return tmp_path / "jobs.db"


def job_store(path, clock):
    return served(serve_job_store, path, clock=clock)


async def keep(store, number, total, lane=1, receipts=(b"one", b"two")):
    line = replace(LINE, voucher=number, first_step=number * 8, end_step=number * 8 + 8)
    return await store.keep_voucher(ANNA.peer, lane, b"voucher %d" % number, total, number, receipts, (line,))


async def test_a_lane_comes_back_as_it_was_saved(path, clock):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
    async with job_store(path, clock) as store:
        assert await store.lane(ANNA.peer, 1) == LANE
        assert await store.lane(ANNA.peer, 2) is None


async def test_lanes_are_found_by_run_role_and_state_oldest_first(path, clock):
    async with job_store(path, clock) as store:
        for lane in (OTHER, LANE):
            await store.save_lane(lane)
        assert await store.lanes() == (LANE, OTHER)
        assert await store.lanes(RUN) == (LANE,)
        assert await store.lanes(role="provider") == (OTHER,)
        assert await store.lanes(state="settled", role="payer") == ()


@pytest.mark.parametrize("wrong", [{"role": "friend"}, {"state": "lost"}])
async def test_a_role_or_state_that_there_is_not_is_refused(path, clock, wrong):
    async with job_store(path, clock) as store:
        with pytest.raises(UsageError, match="a lane is no"):
            await store.save_lane(replace(LANE, **wrong))


async def test_a_voucher_is_kept_with_its_receipts_and_lines(path, clock):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        assert await keep(store, 1, 7)
        lane = await store.lane(ANNA.peer, 1)
        assert (lane.voucher, lane.total, lane.number, lane.updated) == (b"voucher 1", 7, 1, 100.0)
        assert await store.receipts(ANNA.peer, 1, 1) == (b"one", b"two")
        assert await store.work_lines(RUN) == (replace(LINE, first_step=8, end_step=16),)


@pytest.mark.parametrize(("number", "total"), [(3, 50), (3, 60), (4, 50), (2, 70), (4, 40)])
async def test_a_voucher_that_is_not_above_the_newest_in_number_and_total_is_dropped_whole(path, clock, number, total):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        await keep(store, 3, 50)
        before = await store.lane(ANNA.peer, 1), await store.work_lines(RUN)
        assert not await keep(store, number, total)
        assert (await store.lane(ANNA.peer, 1), await store.work_lines(RUN)) == before
        assert await store.receipts(ANNA.peer, 1, number) == ((b"one", b"two") if number == 3 else ())


async def test_a_voucher_of_an_unknown_lane_is_not_kept(path, clock):
    async with job_store(path, clock) as store:
        with pytest.raises(NotFound, match="no lane 1"):
            await keep(store, 1, 7)


async def test_saving_a_lane_with_an_old_record_does_not_lose_its_newest_voucher(path, clock):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        await keep(store, 1, 7)
        await store.save_lane(replace(LANE, state="closing", release=b"release"))
        lane = await store.lane(ANNA.peer, 1)
        assert (lane.state, lane.release, lane.voucher, lane.total) == ("closing", b"release", b"voucher 1", 7)


async def test_lines_come_by_term_stage_and_step(path, clock):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        lines = tuple(
            replace(LINE, term=term, stage=stage, first_step=step, end_step=step + 1)
            for term, stage, step in ((2, 0, 9), (1, 1, 0), (1, 0, 4), (1, 0, 0))
        )
        await store.keep_voucher(ANNA.peer, 1, b"v", 1, 1, (), lines)
        assert await store.work_lines(RUN) == lines[::-1]


async def test_pruning_forgets_old_receipts_and_lines_and_lanes_settled_long_ago(path, clock):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        await keep(store, 1, 7)
        clock.now = 200.0
        await keep(store, 2, 9)
        await store.save_lane(OTHER)
        await store.prune(150.0)
        assert await store.receipts(ANNA.peer, 1, 1) == ()
        assert await store.receipts(ANNA.peer, 1, 2) == (b"one", b"two")
        assert [line.voucher for line in await store.work_lines(RUN)] == [2]
        assert [lane.lane for lane in await store.lanes()] == [1]


async def test_what_a_voucher_brings_is_kept_whole_or_not_at_all(path, clock):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        wrong = replace(LINE, amount=1 << 70)
        with pytest.raises(OverflowError):
            await store.keep_voucher(ANNA.peer, 1, b"v", 1, 1, (b"one",), (LINE, wrong))
        assert await store.lane(ANNA.peer, 1) == LANE
        assert await store.receipts(ANNA.peer, 1, 1) == ()


async def test_a_minute_after_a_write_a_power_cut_does_not_take_it(path, clock, autojump_clock, tmp_path):
    async with job_store(path, clock) as store:
        await store.save_lane(LANE)
        await trio.sleep(CHECKPOINT_SECONDS - 1)
        assert lanes_after_a_power_cut(path, tmp_path / "before.db") == 0
        await trio.sleep(2)
        await store.prune(0.0)  # the one writer is done with all that came before
        assert lanes_after_a_power_cut(path, tmp_path / "after.db") == 1


def lanes_after_a_power_cut(path, place):
    """How many lanes are in the file itself, without its log."""
    shutil.copy(path, place)
    with closing(open_database(place, JOBS_SCHEMA)) as db:
        return db.execute("SELECT count(*) FROM lanes").fetchone()[0]
