"""The plain loop: what it records, how it resumes, and when it fails."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.checkpoint import Checkpoint, UnitState
from swarmd.protocols.errors import NotFound, ProtocolViolation, RunFailed
from swarmd.protocols.spec import NumericsSpec
from swarmd.train.checkpoint import store_units
from swarmd.train.loop import EvalRow, StepRow, train
from swarmd.train.metrics import metrics_lines
from swarmd.train.optim import learning_rate
from swarmd.train.stage import Stage


def bits(trained):
    return {name: (unit.weight_bytes(), unit.optimizer_bytes()) for name, unit in trained.units.items()}


def test_it_records_every_step_and_the_evaluations_that_are_due(tiny_run):
    said = []
    trained = train(tiny_run.spec, tiny_run.data, on_row=said.append)
    assert said == list(trained.rows)
    assert [row.step for row in trained.rows if isinstance(row, StepRow)] == [1, 2, 3, 4, 5]
    assert [row.step for row in trained.rows if isinstance(row, EvalRow)] == [0, 2, 4, 5]
    rates = [row.lr for row in trained.rows if isinstance(row, StepRow)]
    assert rates == [learning_rate(tiny_run.spec.optimizer, step, 5) for step in range(1, 6)]


def test_an_untrained_model_knows_nothing(tiny_run):
    first = train(tiny_run.spec, tiny_run.data).rows[0]
    assert first.loss == pytest.approx(5.545, abs=0.05)  # log 256


def test_it_learns(tiny_run):
    optimizer = replace(tiny_run.spec.optimizer, lr="0.01")
    run = tiny_run.changed(schedule=replace(tiny_run.spec.schedule, steps=40), optimizer=optimizer)
    rows = [row for row in train(run.spec, run.data).rows if isinstance(row, EvalRow)]
    assert rows[-1].loss < rows[0].loss - 1


def test_twice_gives_the_same_bits(tiny_run):
    one, other = (train(tiny_run.spec, tiny_run.data) for _ in range(2))
    assert one.rows == other.rows
    assert bits(one) == bits(other)


@pytest.mark.parametrize("kind", ["exact", "ordered"])
def test_a_resumed_run_ends_with_the_same_bits(tiny_run, kind):
    run = tiny_run.changed(numerics=NumericsSpec(sum=kind))
    straight = train(run.spec, run.data)
    # The first part must see the whole run's learning rate: stop it, do not shorten it.
    checkpoint = stopped_after(run, 3)
    resumed = train(run.spec, run.data, resume=checkpoint, blobs=run.blobs)
    assert bits(resumed) == bits(straight)
    assert list(resumed.rows) == [row for row in straight.rows if row.step > 3]


def test_a_flipped_bit_in_a_checkpoint_is_seen(tiny_run):
    checkpoint = stopped_after(tiny_run, 2)
    state = checkpoint.unit("layers.1")
    raw = bytearray(tiny_run.blobs.get(state.optimizer))
    raw[-1] ^= 1

    def read(name):
        return bytes(raw) if name == state.optimizer else tiny_run.blobs.get(name)

    class Damaged:
        get = staticmethod(read)

    with pytest.raises(ProtocolViolation, match="another hash"):
        train(tiny_run.spec, tiny_run.data, resume=checkpoint, blobs=Damaged())


def test_a_checkpoint_of_other_tensors_is_refused(tiny_run):
    checkpoint = stopped_after(tiny_run, 2)
    wrong = [UnitState(state.unit, checkpoint.unit("embed").weights, state.optimizer) for state in checkpoint.units]
    with pytest.raises(ProtocolViolation, match=r"layers\.0 does not hold exactly"):
        train(tiny_run.spec, tiny_run.data, resume=Checkpoint(2, tuple(wrong)), blobs=tiny_run.blobs)


def test_a_checkpoint_that_is_not_there_is_not_found(tiny_run):
    checkpoint = stopped_after(tiny_run, 2)
    tiny_run.blobs.delete(checkpoint.unit("head").weights)
    with pytest.raises(NotFound):
        train(tiny_run.spec, tiny_run.data, resume=checkpoint, blobs=tiny_run.blobs)


def test_a_spec_may_start_from_given_weights(tiny_run):
    given = stopped_after(tiny_run, 2)
    name = tiny_run.blobs.put(given.to_bytes())
    run = tiny_run.changed(model=replace(tiny_run.spec.model, weights=name))
    first = train(run.spec, run.data, blobs=run.blobs).rows[0]
    after_two = next(
        row for row in train(tiny_run.spec, tiny_run.data).rows if row.step == 2 and isinstance(row, EvalRow)
    )
    assert first == EvalRow(0, after_two.loss)


def test_training_that_diverges_ends_with_words(tiny_run):
    wild = replace(tiny_run.spec.optimizer, lr="1e30", min_lr="1e30")
    run = tiny_run.changed(optimizer=wild)
    with pytest.raises(RunFailed, match="the gradient of"):
        train(run.spec, run.data)


def test_metrics_have_one_line_a_step(tiny_run):
    lines = metrics_lines([EvalRow(0, 5.5), StepRow(1, 5.0, 0.1, 2.0), StepRow(2, 4.0, 0.2, 1.0), EvalRow(2, 4.5)])
    assert lines.splitlines() == [
        '{"step": 0, "eval_loss": 5.5}',
        '{"step": 1, "loss": 5.0, "lr": 0.1, "grad_norm": 2.0}',
        '{"step": 2, "loss": 4.0, "lr": 0.2, "grad_norm": 1.0, "eval_loss": 4.5}',
    ]


def stopped_after(run, steps):
    """A checkpoint of the run after some of its steps."""

    class Stop(Exception):
        pass

    stage = Stage(run.spec, 0, run.spec.model.num_hidden_layers, run.data)
    for step in range(1, steps + 1):
        for index in range(run.spec.batch.micro_batches):
            stage.forward(step, index)
            stage.backward(step, index)
        stage.commit(step)
    return store_units(steps, stage.units, run.blobs)
