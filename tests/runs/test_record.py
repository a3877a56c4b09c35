"""What a coordinator remembers: a step counts once all stages told it, a checkpoint once all units are here."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import UnitState, parse_checkpoint
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.runs.finish import metrics_lines
from swarmd.runs.record import RunRecord, StepRow, checkpoint_blobs, spec_blobs
from tests.protocols.specs import BLOB, SPEC
from tests.runs.nodes import open_swarm
from tests.runs.values import A, B, beat, blob, done, plan_over, record_of

UNITS = tuple(
    UnitState(name, blob(at), blob(at + 10))
    for at, name in enumerate(("embed", "layers.0", "layers.1", "layers.2", "layers.3", "head"))
)


@pytest.fixture
async def record(tmp_path: Path) -> RunRecord:
    """A run in two stages."""
    async with open_swarm(tmp_path) as swarm:
        record = record_of((await swarm.add()).deps)
    record.planned(plan_over(record, A, B), ())
    return record


async def test_a_step_counts_once_every_stage_has_told_it(record: RunRecord) -> None:
    assert record.stepped(B, done(1, 2.5, 0.25), 100.0) is None
    assert record.step == 0
    assert record.stepped(A, done(1, None, 4.0, 2.0), 101.0) == StepRow(1, 2.5, 2.5, 101.0)
    assert record.step == 1
    assert record.stepped(A, done(1, None, 9.0), 102.0) is None
    assert record.rows == {1: StepRow(1, 2.5, 2.5, 101.0)}


async def test_of_replicas_the_first_ones_norms_count_and_all_must_say_the_same(record: RunRecord) -> None:
    layers = record.spec.model.num_hidden_layers
    places = tuple(StageAssignment(peer, 0, layers, 1, (), 5) for peer in (A, B))
    record.planned(Plan(record.run, 1, 1, places, None), ())
    assert (record.is_head(A), record.is_head(B), record.place(B)) == (True, False, 1)
    assert record.stepped(B, done(1, 2.5, 4.0), 100.0) is None
    assert record.stepped(A, done(1, 2.5, 4.0), 101.0) == StepRow(1, 2.5, 2.0, 101.0)
    record.stepped(A, done(2, 2.5, 4.0), 102.0)
    with pytest.raises(RunFailed, match="different norms or losses of step 2"):
        record.stepped(B, done(2, 2.5, 4.5), 103.0)


async def test_a_stage_may_be_a_step_ahead(record: RunRecord) -> None:
    for step in (1, 2):
        record.stepped(A, done(step, None, 1.0), 100.0)
    assert record.stepped(B, done(1, 3.0, 0.0), 101.0) is not None
    assert record.stepped(B, done(2, 2.0, 0.0), 102.0) is not None
    assert record.step == 2


async def test_without_a_plan_nothing_was_trained(record: RunRecord) -> None:
    record.plan = None
    assert record.stepped(A, done(1, 1.0, 1.0), 1.0) is None


async def test_a_loss_nobody_told_is_not_a_number(record: RunRecord) -> None:
    record.planned(plan_over(record, A), ())
    row = record.stepped(A, done(1, None, 1.0), 1.0)
    assert row is not None
    assert math.isnan(row.loss)


async def test_a_checkpoint_is_whole_once_every_unit_is_here(record: RunRecord, tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "kept")
    assert record.stored(5, UNITS[3:], blobs) is None
    assert record.checkpoint is None
    whole = record.stored(5, UNITS[:3], blobs)
    assert whole is not None
    assert whole.units == UNITS
    assert record.checkpoint is not None
    step, name = record.checkpoint
    assert step == 5
    assert parse_checkpoint(blobs.get(name)) == whole
    assert checkpoint_blobs(whole) == {blob(at) for at in (*range(6), *range(10, 16))}


async def test_a_new_term_forgets_what_it_makes_again(record: RunRecord) -> None:
    for step in (1, 2, 3):
        for peer in (A, B):
            record.stepped(peer, done(step, 1.0, 1.0), float(step))
        record.evals[step] = 1.0
    record.stepped(A, done(4, None, 1.0), 4.0)
    record.forget_after(2)
    assert (record.step, list(record.evals), list(record.recent)) == (2, [1, 2], [])
    assert record.stepped(B, done(4, 1.0, 1.0), 5.0) is None


async def test_rates_come_from_beats_some_seconds_apart(record: RunRecord) -> None:
    for second in range(0, 14, 2):
        record.beat(A, beat(second, busy=float(second)), 100.0 + second)
    member = record.member(A)
    assert member.beat is not None
    assert member.before is not None
    assert (member.beat.number, member.beat_time) == (12, 112.0)
    assert 2.0 <= member.beat_time - member.before_time <= 8.0


async def test_metrics_are_one_line_a_step_with_evaluations_beside(record: RunRecord) -> None:
    record.rows = {2: StepRow(2, 1.5, 0.5, 9.0), 1: StepRow(1, 2.5, 0.25, 8.0)}
    record.evals = {0: 3.0, 2: 2.0}
    assert metrics_lines(record).splitlines() == [
        '{"step": 0, "eval_loss": 3.0}',
        '{"step": 1, "loss": 2.5, "grad_norm": 0.25}',
        '{"step": 2, "loss": 1.5, "grad_norm": 0.5, "eval_loss": 2.0}',
    ]
    record.evals = {}
    assert len(metrics_lines(record).splitlines()) == 2


def test_a_run_of_bytes_needs_only_its_shards() -> None:
    assert spec_blobs(SPEC) == {BLOB}
