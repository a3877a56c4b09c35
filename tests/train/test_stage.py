"""A pipeline of stages ends with the bits of the plain loop, whatever the cut and the order of work."""

from __future__ import annotations

import math
import random
from dataclasses import replace

import pytest
import torch

from swarmd.protocols.errors import ProtocolViolation, RunFailed
from swarmd.protocols.spec import NumericsSpec
from swarmd.train.checkpoint import store_units
from swarmd.train.evaluate import evaluation_due
from swarmd.train.loop import EvalRow, StepRow, train
from swarmd.train.split import input_first
from swarmd.train.stage import Stage, deterministic

CUTS = [(3,), (1, 3), (2, 3), (1, 2, 3)]


def stages_of(run, ends, checkpoint=None):
    made, first = [], 0
    for end in ends:
        data = run.data if first == 0 or end == 3 else None
        made.append(Stage(run.spec, first, end, data, checkpoint=checkpoint, read=run.blobs.get))
        first = end
    return made


def one_step(stages, step, chance):
    """Run a step's micro-batches in an order that keeps only what must come before what."""
    ready = [("forward", 0, index, None) for index in range(4)]
    while ready:
        what, at, index, tensor = ready.pop(chance.randrange(len(ready)))
        if what == "forward":
            left = stages[at].forward(step, index, tensor)
            ready.append(("backward", at, index, None) if left is None else ("forward", at + 1, index, left))
        elif what == "weigh":
            stages[at].weigh(step, index)
        else:
            split = at > 0 and chance.random() < 0.5
            gradient = stages[at].backward(step, index, tensor, split=split)
            if split:
                ready.append(("weigh", at, index, None))
            if gradient is not None:
                ready.append(("backward", at - 1, index, gradient))
    return [stage.commit(step) for stage in stages]


def scored(stages, run):
    sums = []
    for batch in range(run.data.eval_batches):
        x = None
        for stage in stages:
            x = stage.evaluate(batch, x)
        sums.append(x)
    targets = run.spec.schedule.eval_windows * run.spec.batch.sequence_length
    return math.fsum(sums) / targets


def pipelined(run, stages, chance):
    """What the plain loop records, from stages."""
    rows = []
    if stages[0].version == 0:
        rows.append(EvalRow(0, scored(stages, run)))
    for step in range(stages[0].version + 1, run.spec.schedule.steps + 1):
        done = one_step(stages, step, chance)
        squares = [square for each in done for _, square in each.squared_norms]
        rows.append((step, done[-1].loss, math.sqrt(math.fsum(squares))))
        if evaluation_due(run.spec.schedule, step):
            rows.append(EvalRow(step, scored(stages, run)))
    return rows


def comparable(rows):
    return [(row.step, row.loss, row.grad_norm) if isinstance(row, StepRow) else row for row in rows]


def snapshot(stages):
    return {name: blobs for stage in stages for name, blobs in stage.snapshot().items()}


def bits(trained):
    return {name: (unit.weight_bytes(), unit.optimizer_bytes()) for name, unit in trained.units.items()}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["exact", "ordered"])
@pytest.mark.parametrize("ends", CUTS)
def test_any_cut_in_any_order_gives_the_bits_of_the_loop(tiny_run, ends, kind):
    run = tiny_run.changed(numerics=NumericsSpec(sum=kind))
    expected = train(run.spec, run.data)
    for seed in range(2):
        stages = stages_of(run, ends)
        assert pipelined(run, stages, random.Random(seed)) == comparable(expected.rows)
        assert snapshot(stages) == bits(expected)


@pytest.mark.slow
def test_a_run_resumed_with_another_cut_ends_with_the_same_bits(tiny_run):
    expected = train(tiny_run.spec, tiny_run.data)
    stages = stages_of(tiny_run, (1, 2, 3))
    for step in (1, 2, 3):
        one_step(stages, step, random.Random(step))
    units = {name: unit for stage in stages for name, unit in stage.units.items()}
    checkpoint = store_units(3, units, tiny_run.blobs)
    stages = stages_of(tiny_run, (2, 3), checkpoint)
    rows = pipelined(tiny_run, stages, random.Random(0))
    assert rows == [row for row in comparable(expected.rows) if (row.step if isinstance(row, EvalRow) else row[0]) > 3]
    assert snapshot(stages) == bits(expected)


def test_a_tensor_that_lies_unaligned_gives_the_same_bits(tiny_run):
    first, last = stages_of(tiny_run, (1, 3))
    x = first.forward(1, 0)
    shifted = torch.empty(x.numel() + 1)[1:].view(x.shape).copy_(x)
    last.forward(1, 0, x)
    other = stages_of(tiny_run, (1, 3))[1]
    other.forward(1, 0, shifted)
    assert torch.equal(last.backward(1, 0), other.backward(1, 0))


def test_what_a_stage_is_given_is_not_changed_or_kept(tiny_run):
    first, last = stages_of(tiny_run, (1, 3))
    x = first.forward(1, 0)
    before = x.clone()
    last.forward(1, 0, x)
    x.zero_()
    gradient = last.backward(1, 0)
    other = stages_of(tiny_run, (1, 3))[1]
    other.forward(1, 0, before)
    assert torch.equal(gradient, other.backward(1, 0))


def test_held_counts_micro_batches_between_forward_and_backward(tiny_run):
    (stage,) = stages_of(tiny_run, (3,))
    stage.forward(1, 2)
    stage.forward(1, 0)
    assert stage.held == 2
    stage.backward(1, 2)
    assert stage.held == 1


class TestOutOfTurn:
    """Every call that does not fit is refused in words, and changes nothing."""

    @pytest.fixture
    def stage(self, tiny_run):
        return stages_of(tiny_run, (3,))[0]

    @pytest.mark.parametrize("step", [0, 2])
    def test_only_the_next_step_is_computed(self, stage, step):
        with pytest.raises(ProtocolViolation, match="weights are of step 0"):
            stage.forward(step, 0)

    @pytest.mark.parametrize("index", [-1, 4])
    def test_only_the_step_s_own_micro_batches(self, stage, index):
        with pytest.raises(ProtocolViolation, match="has no micro-batch"):
            stage.forward(1, index)

    def test_a_forward_is_done_once(self, stage):
        stage.forward(1, 0)
        stage.backward(1, 0)
        with pytest.raises(ProtocolViolation, match="came forward before"):
            stage.forward(1, 0)

    def test_a_backward_needs_its_forward_and_is_done_once(self, stage):
        with pytest.raises(ProtocolViolation, match="nothing to go back over"):
            stage.backward(1, 0)
        stage.forward(1, 0)
        stage.backward(1, 0)
        with pytest.raises(ProtocolViolation, match="nothing to go back over"):
            stage.backward(1, 0)

    def test_a_commit_needs_every_micro_batch(self, stage):
        for index in range(3):
            stage.forward(1, index)
            stage.backward(1, index)
        stage.forward(1, 3)
        with pytest.raises(ProtocolViolation, match="cannot be committed"):
            stage.commit(1)
        stage.backward(1, 3)
        with pytest.raises(ProtocolViolation, match="cannot be committed"):
            stage.commit(2)
        assert stage.commit(1).loss == pytest.approx(5.5, abs=0.2)
        assert stage.version == 1
        with pytest.raises(ProtocolViolation, match="cannot be committed"):
            stage.commit(2)

    def test_a_snapshot_is_taken_between_steps(self, stage):
        stage.forward(1, 0)
        with pytest.raises(ProtocolViolation, match="between steps"):
            stage.snapshot()

    def test_the_ends_take_no_tensors(self, stage, tiny_run):
        with pytest.raises(ProtocolViolation, match="takes no tensor"):
            stage.forward(1, 0, torch.zeros(2, 16, 32))
        stage.forward(1, 0)
        with pytest.raises(ProtocolViolation, match="takes no tensor"):
            stage.backward(1, 0, torch.zeros(2, 16, 32))
        stage.backward(1, 0)

    @pytest.mark.parametrize(
        "x",
        [None, torch.zeros(2, 16, 31), torch.zeros(1, 16, 32), torch.zeros(2, 16, 32, dtype=torch.float64)],
    )
    def test_a_boundary_tensor_has_one_shape_and_type(self, tiny_run, x):
        middle = stages_of(tiny_run, (1, 2, 3))[1]
        for call in (lambda: middle.forward(1, 0, x), lambda: middle.evaluate(0, x)):
            with pytest.raises(ProtocolViolation, match="a boundary tensor is"):
                call()
        middle.forward(1, 0, torch.zeros(2, 16, 32))
        with pytest.raises(ProtocolViolation, match="a boundary tensor is"):
            middle.backward(1, 0, x)

    def test_a_stage_has_layers_and_the_ends_have_tokens(self, tiny_run):
        for first, end in ((0, 0), (2, 1), (0, 4), (-1, 2)):
            with pytest.raises(ProtocolViolation, match="no stage has layers"):
                Stage(tiny_run.spec, first, end, tiny_run.data)
        for first, end in ((0, 1), (2, 3)):
            with pytest.raises(ProtocolViolation, match="need the run's tokens"):
                Stage(tiny_run.spec, first, end, None)


def test_a_gradient_that_is_not_finite_ends_the_run(tiny_run):
    first, last = stages_of(tiny_run, (1, 3))
    x = first.forward(1, 0)
    last.forward(1, 0, x)
    gradient = last.backward(1, 0)
    gradient[0, 0, 0] = torch.nan
    with pytest.raises(RunFailed, match="step 1, micro-batch 0"):
        first.backward(1, 0, gradient)


@pytest.mark.slow
def test_two_threads_are_another_class_but_the_loop_agrees_with_itself(tiny_run):
    schedule = replace(tiny_run.spec.schedule, steps=2)
    run = tiny_run.changed(numerics=replace(tiny_run.spec.numerics, threads=2), schedule=schedule)
    expected = train(run.spec, run.data)
    stages = stages_of(run, (1, 3))
    pipelined(run, stages, random.Random(0))
    assert snapshot(stages) == bits(expected)
    deterministic(tiny_run.spec)


class TestSplitBackward:
    """Its gradients are part of the tests above: half of the backwards there are split."""

    def test_only_matrices_of_products_are_put_off(self, tiny_run):
        last = stages_of(tiny_run, (1, 3))[1]
        x = torch.ones(2, 16, 32).requires_grad_()
        left = last._weights.newest(x).sum()
        _, deferred = input_first(left, x, last.parameters, None)
        assert set(deferred._found) == {name for name, weight in last.parameters.items() if weight.dim() == 1}
        assert set(deferred.gradients()) == set(last.parameters)

    def test_a_matrix_that_two_products_share_is_not_put_off(self):
        x, weight = torch.ones(2, 3).requires_grad_(), torch.ones(3, 3).requires_grad_()
        left = ((x @ weight.t()) @ weight.t()).sum()
        gradient, deferred = input_first(left, x, {"w": weight}, None)
        expected = torch.autograd.grad(((x @ weight.t()) @ weight.t()).sum(), (x, weight))
        assert torch.equal(gradient, expected[0])
        assert torch.equal(deferred.gradients()["w"], expected[1])

    def test_only_what_was_put_off_can_be_weighed_and_once_and_nothing_commits_before(self, tiny_run):
        first, last = stages_of(tiny_run, (1, 3))
        with pytest.raises(ProtocolViolation, match="put off"):
            last.weigh(1, 0)
        for index in range(4):
            last.forward(1, index, first.forward(1, index))
            last.backward(1, index, split=index == 3)
        with pytest.raises(ProtocolViolation, match="not every micro-batch"):
            last.commit(1)
        last.weigh(1, 3)
        with pytest.raises(ProtocolViolation, match="put off"):
            last.weigh(1, 3)
        last.commit(1)


def test_a_stage_that_goes_back_a_step_and_does_it_again_has_the_same_bits(tiny_run):
    stages, chance = stages_of(tiny_run, (1, 3)), random.Random(4)
    for stage in stages:
        stage.keep_past(True)
    assert [stage.oldest for stage in stages] == [0, 0]
    for step in (1, 2):
        one_step(stages, step, chance)
    once = [stage.snapshot() for stage in stages]
    stages[0].forward(3, 0)  # and something of the open step, which is forgotten
    for stage in stages:
        assert (stage.version, stage.oldest) == (2, 1)
        stage.go_back(1)
        assert (stage.version, stage.oldest) == (1, 1)
    one_step(stages, 2, chance)
    assert [stage.snapshot() for stage in stages] == once


def test_a_stage_goes_back_to_nothing_that_it_did_not_keep(tiny_run):
    (stage,) = stages_of(tiny_run, (3,))
    one_step([stage], 1, random.Random(5))
    stage.go_back(1)
    with pytest.raises(ProtocolViolation, match="no longer here"):
        stage.go_back(0)
    stage.keep_past(True)
    one_step([stage], 2, random.Random(5))
    with pytest.raises(ProtocolViolation, match="no longer here"):
        stage.go_back(0)
    stage.keep_past(False)
    assert stage.oldest == 2
