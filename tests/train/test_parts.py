"""Replicas of a stage end with the bits of the plain loop, whoever computed what; parts that cannot be are refused."""

from __future__ import annotations

import math
import random

import pytest
import torch

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.spec import NumericsSpec
from swarmd.train.loop import StepRow, train
from swarmd.train.parts import PartIn, part_slices
from swarmd.train.stage import Stage
from swarmd.train.sums import ExactSums

CPU = torch.device("cpu")
SHAPES = {"a.weight": (3, 5), "b.weight": (7,)}
WHOLE = frozenset({0, 1})


def sums_with(*counted, scale=1e-3, micro_batches=4):
    sums = ExactSums(SHAPES, micro_batches, CPU)
    for micro_batch in counted:
        generator = torch.Generator().manual_seed(micro_batch)
        sums.add(
            1, micro_batch, {name: torch.randn(shape, generator=generator) * scale for name, shape in SHAPES.items()}
        )
    return sums


def merged(into, out_of, counted, most=64):
    part = PartIn(set(counted), into)
    for values in part_slices(out_of, set(counted), 8 * most):
        part.add(values)
    assert part.whole
    into.close(frozenset(counted))


class TestSums:
    @pytest.mark.parametrize("scale", [1e-9, 1e-3, 30.0])
    @pytest.mark.parametrize("most", [1, 5, 64])
    def test_any_grouping_gives_the_bits_of_one_sum(self, scale, most):
        alone = sums_with(0, 1, 2, 3, scale=scale)
        mine, others = sums_with(2, scale=scale), (sums_with(0, 3, scale=scale), sums_with(1, scale=scale))
        merged(mine, others[0], (0, 3), most)
        assert not mine.complete
        merged(mine, others[1], (1,), most)
        assert mine.complete
        assert all(torch.equal(mine.total(name), alone.total(name)) for name in SHAPES)

    def test_what_others_gave_is_no_part_of_what_is_given(self):
        mine = sums_with(0)
        before = mine.part(0, mine.size)
        merged(mine, sums_with(1), (1,))
        assert mine.part(0, mine.size) == before

    def test_a_cleared_sum_has_nothing_of_others_either(self):
        mine = sums_with(0, 1, micro_batches=4)
        merged(mine, sums_with(2, 3), (2, 3))
        mine.clear()
        assert not mine.complete
        assert all(not mine.total(name).any() for name in SHAPES)

    def test_a_micro_batch_is_counted_once_across_replicas(self):
        mine = sums_with(0)
        with pytest.raises(ProtocolViolation, match="micro-batch 0 is counted already"):
            merged(mine, sums_with(0, 1), (0, 1))

    @pytest.mark.parametrize("value", [0.5, math.nan, math.inf, -math.inf, 2.0**52 + 1, -(2.0**53)])
    def test_a_value_that_no_sum_has_is_refused(self, value):
        came = torch.tensor([0.0, value], dtype=torch.float64).numpy().tobytes()
        with pytest.raises(ProtocolViolation, match="no sum of 2 micro-batches"):
            PartIn(WHOLE, sums_with()).add(came)

    @pytest.mark.parametrize("size", [0, 7, 9, 23 * 8])
    def test_a_slice_of_no_whole_values_or_beyond_the_end_is_refused(self, size):
        with pytest.raises(ProtocolViolation, match=r"22 values are left|does not fit"):
            PartIn(WHOLE, sums_with()).add(bytes(size))

    def test_a_slice_after_the_last_is_refused(self):
        part = PartIn(WHOLE, sums_with())
        part.add(bytes(22 * 8))
        assert part.whole
        with pytest.raises(ProtocolViolation, match="0 values are left"):
            part.add(bytes(8))

    def test_the_part_of_nothing_is_a_zero(self):
        assert list(part_slices(sums_with(), set(), 64)) == [bytes(8)]
        part = PartIn(set(), sums_with())
        for odd in (bytes(16), b"\1" * 8):
            with pytest.raises(ProtocolViolation, match=r"1 values are left|no sum of 0"):
                part.add(odd)
        part.add(bytes(8))
        assert part.whole


# --- stages


def replicas_of(run, ends, counts):
    made, first = [], 0
    for end, count in zip(ends, counts, strict=True):
        made.append([Stage(run.spec, first, end, run.data if {0, 3} & {first, end} else None) for _ in range(count)])
        first = end
    return made


def exchange(group, step, counted, most):
    """Every replica gives its part to every other, as bytes. ``counted``: whose each micro-batch is."""
    of = {stage: [each for each, owner in counted.items() if owner is stage] for stage in group}
    parts = {stage: list(stage.own_part(set(of[stage]), most)) for stage in group}
    losses = {stage: {each: stage.loss_of(step, each) for each in of[stage]} for stage in group}
    for stage in group:
        for other in (each for each in group if each is not stage):
            coming = stage.open_part(set(of[other]))
            for values in parts[other]:
                coming.add(values)
            stage.close_part(coming, losses[other])


def one_step(groups, step, chance, most=1000):
    """Each micro-batch takes a replica of each stage by chance, uneven ones at that; gradients return that way."""
    paths = [[chance.choice((group * 2)[: len(group) + 1]) for group in groups] for _ in range(4)]
    gone = [(path, index, path[0].forward(step, index)) for index, path in enumerate(paths)]
    chance.shuffle(gone)
    for path, index, tensor in gone:
        for stage in path[1:]:
            tensor = stage.forward(step, index, tensor)
        for stage in reversed(path):
            tensor = stage.backward(step, index, tensor)
    for number, group in enumerate(groups):
        exchange(group, step, {index: path[number] for index, path in enumerate(paths)}, most)
    return [[stage.commit(step) for stage in group] for group in groups]


def snapshots(group):
    return [stage.snapshot() for stage in group]


@pytest.mark.slow
@pytest.mark.parametrize("counts", [(1, 2, 1), (2, 3, 2), (3, 1, 2), (2, 2, 3)])
def test_replicas_end_every_step_with_the_bits_of_the_plain_loop(tiny_run, counts):
    expected = train(tiny_run.spec, tiny_run.data)
    rows = [row for row in expected.rows if isinstance(row, StepRow)]
    groups, chance = replicas_of(tiny_run, (1, 2, 3), counts), random.Random(sum(counts))
    for row in rows:
        done = one_step(groups, row.step, chance)
        assert all(all(each == group[0] for each in group) for group in done)
        assert done[-1][0].loss == row.loss
        squares = [square for group in done for _, square in group[0].squared_norms]
        assert math.sqrt(math.fsum(squares)) == row.grad_norm
    ended = {name: blobs for group in groups for name, blobs in snapshots(group)[0].items()}
    assert ended == {name: (unit.weight_bytes(), unit.optimizer_bytes()) for name, unit in expected.units.items()}
    assert all(each == snapshots(group)[0] for group in groups for each in snapshots(group))


class TestOutOfTurn:
    @pytest.fixture
    def pair(self, tiny_run):
        return replicas_of(tiny_run, (3,), (2,))[0]

    def test_nothing_commits_before_every_part_is_closed(self, pair):
        owners = {index: pair[index % 2] for index in range(4)}
        for index, stage in owners.items():
            stage.forward(1, index)
            stage.backward(1, index)
        with pytest.raises(ProtocolViolation, match="cannot be committed"):
            pair[0].commit(1)
        exchange(pair, 1, owners, 4096)
        assert pair[0].commit(1) == pair[1].commit(1)

    def test_what_another_counted_cannot_be_held_here(self, pair):
        """A sender that gave one micro-batch to two replicas."""
        for index in range(4):
            pair[0].forward(1, index)
            pair[0].backward(1, index)
        pair[1].forward(1, 3)
        exchange(pair, 1, dict.fromkeys(range(4), pair[0]), 4096)
        with pytest.raises(ProtocolViolation, match="cannot be committed"):
            pair[1].commit(1)

    def test_a_part_is_whole_and_has_its_losses(self, pair):
        part = pair[1].open_part({0})
        with pytest.raises(ProtocolViolation, match="ended before"):
            pair[1].close_part(part, {0: 1.0})
        part.add(bytes(8 * pair[1]._exact().size))
        for losses in ({}, {0: 1.0, 1: 1.0}):
            with pytest.raises(ProtocolViolation, match="other losses than micro-batches"):
                pair[1].close_part(part, losses)

    def test_ordered_sums_refuse_replicas(self, tiny_run):
        run = tiny_run.changed(numerics=NumericsSpec(sum="ordered"))
        stage = replicas_of(run, (3,), (1,))[0][0]
        with pytest.raises(ProtocolViolation, match='replicas need sum = "exact"'):
            next(stage.own_part(set(), 8))
