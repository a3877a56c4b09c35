"""Products in bfloat16: any cut and order ends with the bits of the plain loop, close to what float32 gives."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import Checkpoint
from swarmd.protocols.spec import NumericsSpec, WireSpec
from swarmd.train.checkpoint import store_units
from swarmd.train.data import TokenData
from swarmd.train.loop import EvalRow, train
from swarmd.train.model import Model
from swarmd.train.split import input_first
from swarmd.train.stage import Stage
from swarmd.train.units import stage_units
from swarmd.train.working import working
from tests.train.chain import Chain
from tests.train.specs import small_spec

HALF = NumericsSpec(dtype="bfloat16")


@pytest.fixture
def blobs(tmp_path):
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def spec(tmp_path, blobs):
    return replace(small_spec(tmp_path, blobs), numerics=HALF)


def chained(spec, blobs, cuts, seed):
    chain = Chain(spec, blobs, cuts)
    chain.run(seed)
    held = chain.weights()
    names = stage_units(spec.model, 0, 3)
    return Checkpoint(spec.schedule.steps, tuple(held[name] for name in names))


VARIANTS = {
    "plain": {},
    "ordered": {"numerics": replace(HALF, sum="ordered")},
    "flow-async": {"schedule": {"steps": 6, "async_after": 2, "checkpoint_every": 3}},
    "subspace": {"model": {"subspace": 4}},
}


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("cuts", [(0, 3), (0, 1, 3), (0, 1, 2, 3)])
def test_any_cut_in_any_order_gives_the_bits_of_the_loop(spec, blobs, cuts, variant):
    changed = {k: replace(getattr(spec, k), **v) if isinstance(v, dict) else v for k, v in variant.items()}
    spec = replace(spec, **changed)
    expected = store_units(spec.schedule.steps, train(spec, TokenData(spec, blobs.get)).units, blobs)
    for seed in range(2):
        assert chained(spec, blobs, cuts, seed) == expected


def test_the_loss_is_near_that_of_float32_and_the_weights_stay_float32(tiny_run):
    one, other = (train(run.spec, run.data) for run in (tiny_run, tiny_run.changed(numerics=HALF)))
    ends = [[row.loss for row in each.rows if isinstance(row, EvalRow)] for each in (one, other)]
    assert ends[0] == pytest.approx(ends[1], abs=0.02)
    assert ends[0] != ends[1]
    assert {tensor.dtype for unit in other.units.values() for tensor in unit.weights.values()} == {torch.float32}


def test_products_are_what_autocast_makes_of_them(tiny_run):
    """torch's own autocast rounds the same factors; it differs where a sum of gradients or a softmax is rounded."""
    run = tiny_run.changed(numerics=HALF)
    stage = Stage(run.spec, 0, 3, run.data)
    ids = torch.from_numpy(run.data.micro_batch(1, 0)[0])
    ours = stage._weights.newest(ids)
    full = Model(run.spec.model, {name: unit.weights for name, unit in stage.units.items()})
    with torch.autocast("cpu", torch.bfloat16):
        theirs = full(ids).float()
    assert ours.dtype == torch.float32
    assert (ours - theirs).abs().max() < (theirs - full(ids)).abs().max()


def test_only_matrices_of_products_have_copies_and_they_follow_the_weights(tiny_run):
    run = tiny_run.changed(numerics=HALF)
    stage = Stage(run.spec, 0, 3, run.data)
    used = stage._weights.newest.parameters
    copied = {name for name in used if used[name].dtype == torch.bfloat16}
    matrices = {name for name, weight in stage.parameters.items() if weight.dim() == 2}
    assert copied == matrices - {"model.embed_tokens.weight"}
    assert all(used[name] is weight for name, weight in stage.parameters.items() if name not in copied)
    for index in range(4):
        stage.forward(1, index)
        stage.backward(1, index)
    stage.commit(1)
    assert all(torch.equal(used[name], stage.parameters[name].to(torch.bfloat16)) for name in copied)


def test_with_float32_nothing_is_copied(tiny_run):
    units = {"embed": {"model.embed_tokens.weight": torch.ones(2, 2)}, "head": {"lm_head.weight": torch.ones(2, 2)}}
    assert working(tiny_run.spec, units) == units
    assert working(tiny_run.spec, units)["head"]["lm_head.weight"] is units["head"]["lm_head.weight"]


def test_a_split_backward_puts_off_the_same_products(tiny_run):
    run = tiny_run.changed(numerics=HALF, wire=WireSpec())
    last = Stage(run.spec, 1, 3, run.data)._weights.newest
    x = torch.ones(2, 16, 32).requires_grad_()
    _, deferred = input_first(last(x).sum(), x, last.parameters, None)
    assert set(deferred._found) == {name for name, weight in last.parameters.items() if weight.dim() == 1}
    assert set(deferred.gradients()) == set(last.parameters)
