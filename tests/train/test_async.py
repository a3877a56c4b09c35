"""``flow-async``: stale steps compute with the weights before the newest, in the loop and in every pipeline alike."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Scored, Stepped, Stored
from swarmd.protocols.checkpoint import Checkpoint, UnitState
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import open_units, store_units
from swarmd.train.data import TokenData
from swarmd.train.evaluate import loss_share
from swarmd.train.loop import EvalRow, StepRow, train
from swarmd.train.model import Model
from swarmd.train.optim import AdamW
from swarmd.train.stage import Stage
from swarmd.train.sums import sums_of
from swarmd.train.units import stage_units
from tests.train.chain import Chain
from tests.train.specs import small_spec

NAMES = ("embed", "layers.0", "layers.1", "layers.2", "head")
STALE = (3, 4, 6, 7, 8)
"""Of the runs below: the first two steps are synchronous, and so is the fifth, after the checkpoint."""


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def spec(tmp_path: Path, blobs: BlobStore) -> JobSpec:
    made = small_spec(tmp_path, blobs)
    return replace(made, schedule=replace(made.schedule, steps=8, checkpoint_every=4, async_after=2))


def test_stale_steps_begin_when_the_spec_says_and_never_after_a_checkpoint(spec):
    assert tuple(step for step in range(1, 9) if spec.schedule.stale(step)) == STALE
    assert [spec.schedule.computed_with(step) for step in range(1, 9)] == [0, 1, 1, 2, 4, 4, 5, 6]


def test_the_last_checkpoint_can_be_opened_wherever_it_is(spec, blobs):
    odd = replace(spec, schedule=replace(spec.schedule, steps=7))
    last = store_units(7, open_units(odd, NAMES, None, None, torch.device("cpu")), blobs)
    assert train(odd, TokenData(odd, blobs.get), resume=last, blobs=blobs).rows == ()


def test_without_a_word_none_is_stale(spec):
    schedule = replace(spec.schedule, async_after=None)
    assert not any(map(schedule.stale, range(1, 9)))


@pytest.mark.slow
def test_the_loop_is_the_definition_written_with_every_version_kept(spec, blobs):
    units = open_units(spec, NAMES, None, None, torch.device("cpu"))
    data, sums, optimizer = TokenData(spec, blobs.get), sums_of(spec, NAMES, torch.device("cpu")), AdamW(spec)
    versions = [_copied(units)]
    for step in range(1, 9):
        model = Model(spec.model, versions[step - 2 if step in STALE else step - 1])
        for index in range(spec.batch.micro_batches):
            inputs, targets = map(torch.from_numpy, data.micro_batch(step, index))
            loss = loss_share(model(inputs), targets, spec.batch.tokens_per_step)
            gradients = torch.autograd.grad(loss, list(model.parameters.values()))
            sums.add(step, index, dict(zip(model.parameters, gradients, strict=True)))
        for unit in units.values():
            optimizer.update(step, unit, sums)
        sums.clear()
        versions.append(_copied(units))
    assert store_units(8, units, blobs) == store_units(8, train(spec, data).units, blobs)


def _copied(units):
    return {
        name: {key: tensor.detach().clone().requires_grad_() for key, tensor in unit.weights.items()}
        for name, unit in units.items()
    }


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "ordered"])
@pytest.mark.parametrize("cuts", [(0, 3), (0, 1, 3), (0, 2, 3), (0, 1, 2, 3)])
def test_any_number_of_stages_in_any_order_gives_the_loops_bits(spec, blobs, cuts, kind):
    spec = replace(spec, numerics=replace(spec.numerics, sum=kind))
    reference = train(spec, TokenData(spec, blobs.get))
    for seed in range(3):
        chain = Chain(spec, blobs, cuts)
        chain.run(seed)
        assert _whole(chain, 8) == store_units(8, reference.units, blobs)
        losses = {report.step: float(report.loss) for report in chain.reported(Stepped) if report.loss is not None}
        assert losses == {row.step: row.loss for row in reference.rows if isinstance(row, StepRow)}
        scores = {report.step: float(report.loss) for report in chain.reported(Scored)}
        assert scores == {row.step: row.loss for row in reference.rows if isinstance(row, EvalRow)}


@pytest.mark.slow
def test_a_checkpoint_is_all_that_the_loop_and_any_pipeline_need_to_go_on(spec, blobs):
    data = TokenData(spec, blobs.get)
    straight = train(spec, data)
    chain = Chain(spec, blobs, (0, 1, 3))
    chain.run(seed=1)
    start = _whole(chain, 4)
    resumed = train(spec, data, resume=start, blobs=blobs)
    assert list(resumed.rows) == [row for row in straight.rows if row.step > 4]
    rest = Chain(spec, blobs, (0, 2, 3), blobs.put(start.to_bytes()))
    rest.run(seed=2)
    assert _whole(rest, 8) == store_units(8, resumed.units, blobs) == store_units(8, straight.units, blobs)


def test_only_a_checkpoint_of_the_runs_own_steps_can_be_gone_on_from(spec, blobs):
    data = TokenData(spec, blobs.get)
    units = open_units(spec, NAMES, None, None, torch.device("cpu"))
    other = store_units(3, units, blobs)
    for go_on in (
        lambda: train(spec, data, resume=other, blobs=blobs),
        lambda: Stage(spec, 0, 3, data, checkpoint=other, read=blobs.get),
    ):
        with pytest.raises(ProtocolViolation, match="step 4 needs weights that a checkpoint of step 3 lacks"):
            go_on()


class TestStage:
    """A stage whose step 3 is stale and whose step 2 is not, after one step."""

    @pytest.fixture
    def stage(self, spec, blobs):
        made = Stage(spec, 0, 3, TokenData(spec, blobs.get))
        _step(made, 1)
        return made

    def test_forwards_of_a_stale_step_may_come_before_the_commit_and_after_it_and_use_the_same_weights(
        self, stage, spec, blobs
    ):
        other = Stage(spec, 0, 3, TokenData(spec, blobs.get))
        _step(other, 1)
        for index in range(3):
            stage.forward(3, index)
        for each in (stage, other):
            _step(each, 2)
            _step(each, 3, forward=each is other)
        assert stage.snapshot() == other.snapshot()

    def test_nothing_else_of_it_may(self, stage):
        stage.forward(3, 0)
        for call in (lambda: stage.backward(3, 0), lambda: stage.weigh(3, 0)):
            with pytest.raises(ProtocolViolation, match="weights are of step 1"):
                call()
        with pytest.raises(ProtocolViolation, match="cannot be committed"):
            stage.commit(3)

    def test_no_forward_goes_further_ahead_or_before_a_synchronous_step_s_weights(self, spec, blobs):
        stage = Stage(spec, 0, 3, TokenData(spec, blobs.get))
        for step in (2, 3):
            with pytest.raises(ProtocolViolation, match="weights are of step 0"):
                stage.forward(step, 0)

    def test_an_evaluation_is_of_the_newest_weights(self, stage):
        _step(stage, 2)
        newest = stage.evaluate(0)
        stage.forward(4, 0)
        for index in range(3):
            stage.forward(3, index)
        assert stage.evaluate(0) == newest
        for index in range(3):
            stage.backward(3, index)
        stage.commit(3)
        assert stage.evaluate(0) != newest


def _step(stage: Stage, step: int, *, forward: bool = True) -> None:
    for index in range(3):
        if forward:
            stage.forward(step, index)
        stage.backward(step, index)
    stage.commit(step)


def _whole(chain: Chain, step: int) -> Checkpoint:
    units: dict[str, UnitState] = {
        unit.unit: unit for stored in chain.reported(Stored) if stored.step == step for unit in stored.units
    }
    return Checkpoint(step, tuple(units[name] for name in stage_units(chain.spec.model, 0, 3)))
