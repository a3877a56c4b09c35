"""Gradient sums: exact in any order; or in micro-batch order; and never wrong in silence."""

from __future__ import annotations

import itertools
from fractions import Fraction

import pytest
import torch

from swarmd.protocols.errors import ProtocolViolation, RunFailed
from swarmd.train.sums import ExactSums, OrderedSums

CPU = torch.device("cpu")
SHAPES = {"a.weight": (3, 5), "b.weight": (7,)}


def gradients(seed, scale=1e-3):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) * scale for name, shape in SHAPES.items()}


def summed(kind, order, parts):
    sums = kind(SHAPES, len(parts), CPU)
    for index in order:
        sums.add(1, index, parts[index])
    assert sums.complete
    return {name: sums.total(name) for name in SHAPES}


def same(left, right):
    return all(torch.equal(left[name], right[name]) for name in SHAPES)


@pytest.mark.parametrize("kind", [ExactSums, OrderedSums])
@pytest.mark.parametrize("scale", [1e-9, 1e-3, 30.0])
def test_the_order_of_micro_batches_changes_no_bit(kind, scale):
    parts = [gradients(seed, scale) for seed in range(4)]
    expected = summed(kind, range(4), parts)
    assert all(same(expected, summed(kind, order, parts)) for order in itertools.permutations(range(4)))


def test_an_exact_sum_is_the_sum_of_values_rounded_to_the_grid():
    parts = [gradients(seed, 1e-7) for seed in range(3)]
    total = summed(ExactSums, range(3), parts)["b.weight"]
    for at in range(7):
        grid = sum(round(Fraction(part["b.weight"][at].item()) * 2**40) for part in parts)
        assert total[at].item() == torch.tensor(grid / 2**40, dtype=torch.float64).float().item()


def test_an_ordered_sum_is_the_float32_sum_in_micro_batch_order():
    parts = [gradients(seed) for seed in range(3)]
    expected = {name: ((0 + parts[0][name]) + parts[1][name]) + parts[2][name] for name in SHAPES}
    assert same(expected, summed(OrderedSums, (2, 0, 1), parts))


@pytest.mark.parametrize("kind", [ExactSums, OrderedSums])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_a_value_that_is_not_finite_ends_the_run_and_is_named(kind, bad):
    sums, parts = kind(SHAPES, 2, CPU), gradients(0)
    parts["b.weight"][3] = bad
    with pytest.raises(RunFailed, match=r"step 9, micro-batch 0: the gradient of b\.weight"):
        sums.add(9, 0, parts)


def test_a_value_is_too_large_as_soon_as_all_micro_batches_together_could_overflow():
    limit = 2.0**13 / 4  # 2^53 grid units, shared by four micro-batches
    sums, parts = ExactSums(SHAPES, 4, CPU), gradients(0)
    parts["a.weight"][1, 1] = -limit
    sums.add(1, 0, parts)
    parts["a.weight"][1, 1] = -limit * (1 + 2**-20)
    with pytest.raises(RunFailed, match=r"a\.weight"):
        sums.add(1, 1, parts)


@pytest.mark.parametrize("kind", [ExactSums, OrderedSums])
def test_a_micro_batch_counts_once(kind):
    sums = kind(SHAPES, 2, CPU)
    sums.add(1, 1, gradients(0))
    for index in (1, 2, -1):
        with pytest.raises(ProtocolViolation):
            sums.add(1, index, gradients(0))
    assert not sums.complete


@pytest.mark.parametrize("kind", [ExactSums, OrderedSums])
def test_a_cleared_sum_begins_again(kind):
    sums, parts = kind(SHAPES, 2, CPU), [gradients(1), gradients(2)]
    for _ in range(2):
        for index in range(2):
            sums.add(1, index, parts[index])
        total = {name: sums.total(name).clone() for name in SHAPES}
        sums.clear()
    assert same(total, summed(kind, range(2), parts))
