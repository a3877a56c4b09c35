"""Runs on disk: a restarted daemon knows of each what it must show, and from where it goes on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from swarmd.protocols.checkpoint import Checkpoint, UnitState, unit_names
from swarmd.protocols.jobtables import RunTable
from swarmd.runs.deps import RunDeps
from swarmd.runs.journal import INTERRUPTED, load_records, save_record
from swarmd.runs.record import StepRow
from swarmd.runs.view import state_words
from swarmd.scheduler.runstate import Phase, RunState
from tests.runs.nodes import open_swarm
from tests.runs.values import blob, record_of

pytestmark = pytest.mark.net


@pytest.fixture
async def deps(tmp_path: Path) -> AsyncIterator[RunDeps]:
    async with open_swarm(tmp_path) as swarm:
        yield (await swarm.add()).deps


async def test_a_run_that_is_done_comes_back_as_it_was(deps: RunDeps) -> None:
    record = record_of(deps)
    record.remembered, record.term, record.asked = ("done", "", ""), 2, RunTable(min_stages=2, max_stages=3, replicas=4)
    record.began, record.ended, record.trained_before = 100.0, 160.0, 40.0
    record.weights_sha256 = "ab" * 32
    units = tuple(UnitState(name, blob(1), blob(2)) for name in unit_names(4))
    record.checkpoint = (10, deps.blobs.put(Checkpoint(10, units).to_bytes()))
    record.evals = {0: 5.5, 10: 2.25}
    await save_record(record, deps)
    deps.storage.queue_metrics(record.run, StepRow(10, 2.0, 0.5, 160.0))
    await save_record(record, deps)
    again = (await load_records(deps))[record.run]
    for field in ("run", "name", "spec", "statement", "signed", "directory", "created", "asked"):
        assert getattr(again, field) == getattr(record, field)
    assert (again.term, again.checkpoint, again.weights_sha256) == (2, record.checkpoint, "ab" * 32)
    assert (again.evals, again.rows) == (record.evals, {10: StepRow(10, 2.0, 0.5, 160.0)})
    assert again.trained_before == 100.0
    assert state_words(again) == ("done", "", "")
    assert again.grant.blobs == record.grant.blobs


@pytest.mark.parametrize(
    ("restarts", "words"), [(0, ("failed", "run_failed", INTERRUPTED)), (5, ("recovering", "", INTERRUPTED))]
)
async def test_a_run_that_was_going_when_the_daemon_ended_goes_on_or_has_failed(
    deps: RunDeps, restarts: int, words: tuple[str, str, str]
) -> None:
    record = record_of(deps)
    record.asked = replace(record.asked, restarts=restarts)
    record.state = RunState(phase=Phase.TRAINING, since=0.0, min_stages=1)
    record.began = 100.0
    await save_record(record, deps)
    again = (await load_records(deps))[record.run]
    assert state_words(again) == words
    assert (again.checkpoint, again.rows, again.trained_before) == (None, {}, 0)


async def test_each_run_has_its_own_figures_and_a_loss_that_is_no_number_is_none(deps: RunDeps) -> None:
    first, second = record_of(deps), record_of(deps, nonce=2)
    for record in (first, second):
        record.remembered = ("stopped", "stopped", "by its user")
        await save_record(record, deps)
    deps.storage.queue_metrics(first.run, StepRow(1, float("nan"), 0.5, 1.0))
    deps.storage.queue_metrics(second.run, replace(StepRow(1, 3.0, 0.5, 1.0)))
    await save_record(second, deps)
    records = await load_records(deps)
    assert records[first.run].rows == {}
    assert records[second.run].rows == {1: StepRow(1, 3.0, 0.5, 1.0)}
