"""Compiled blocks: any cut, with or without recomputing, ends with the bits of the plain loop of the same spec."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import torch
from torch._inductor import config

from swarmd.protocols.errors import ProtocolViolation, RunFailed
from swarmd.protocols.spec import NumericsSpec
from swarmd.protocols.speccheck import check_spec
from swarmd.train import compiled
from swarmd.train.compiled import prepare_compiler
from swarmd.train.loop import train
from swarmd.train.model import Model
from swarmd.train.stage import Stage
from tests.train.test_stage import bits, comparable, pipelined, snapshot

COMPILED = NumericsSpec(compiler="inductor")


@pytest.fixture
def run(tiny_run, tmp_path, monkeypatch):
    for name in ("TORCHINDUCTOR_CACHE_DIR", "TORCHINDUCTOR_COMPILE_THREADS"):
        monkeypatch.setenv(name, "")
    prepare_compiler(tmp_path / "code")
    return tiny_run.changed(numerics=COMPILED)


@pytest.mark.heavy
def test_any_cut_gives_the_bits_of_the_loop_and_recomputing_changes_none(run, tmp_path):
    expected = train(run.spec, run.data)
    assert any((tmp_path / "code").iterdir())
    for ends in ((3,), (1, 3), (1, 2, 3)):
        for recompute in (False, True):
            cut = zip((0, *ends[:-1]), ends, strict=True)
            stages = [Stage(run.spec, first, end, run.data, recompute=recompute) for first, end in cut]
            assert not any(stage.splits for stage in stages)
            assert pipelined(run, stages, random.Random(0)) == comparable(expected.rows)
            assert snapshot(stages) == bits(expected)


@pytest.mark.heavy
def test_outputs_and_gradients_are_near_those_of_torchs_own_kernels(run):
    units = {name: unit.weights for name, unit in Stage(run.spec, 0, 3, run.data).units.items()}
    ids = torch.from_numpy(run.data.micro_batch(1, 0)[0])
    found = []
    for compiled_blocks in (False, True):
        model = Model(run.spec.model, units, compiled=compiled_blocks)
        left = model(ids)
        found.append([left, *torch.autograd.grad(left.square().mean(), list(model.parameters.values()))])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-4)


@pytest.mark.heavy
def test_without_a_compiler_the_run_fails_and_says_what_to_install(run, monkeypatch):
    monkeypatch.setattr(compiled, "_compiled", compiled._compiled.__wrapped__)
    torch.compiler.reset()
    stage = Stage(run.spec, 0, 3, run.data)
    nothing = config.patch({"cpp.cxx": (None, "no-such-compiler"), "fx_graph_cache": False})
    with nothing, pytest.raises(RunFailed) as caught:
        stage.forward(1, 0)
    torch.compiler.reset()
    assert "does not work here" in caught.value.message
    assert "apt install g++" in (caught.value.hint or "")


def test_a_model_in_a_subspace_is_not_compiled(tiny_run):
    spec = replace(tiny_run.spec, numerics=COMPILED, model=replace(tiny_run.spec.model, subspace=8))
    with pytest.raises(ProtocolViolation, match="a model in a subspace is not compiled"):
        check_spec(spec)
