"""Initial weights: a function of spec id and name alone, with the same bits on every processor."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from swarmd.train import weights
from swarmd.train.units import stage_units, unit_shapes
from swarmd.train.weights import seeded_weights

HASH_WEIGHTS = """
import hashlib, sys
from swarmd.protocols.spec import parse_spec
from swarmd.train.units import stage_units
from swarmd.train.weights import seeded_weights
spec = parse_spec(sys.stdin.buffer.read())
digest = hashlib.sha256()
for unit in stage_units(spec.model, 0, spec.model.num_hidden_layers):
    for name, values in seeded_weights(spec, unit).items():
        digest.update(name.encode() + values.tobytes())
print(digest.hexdigest())
"""


def units(spec):
    return stage_units(spec.model, 0, spec.model.num_hidden_layers)


def test_every_unit_has_its_parameters_in_name_order(tiny_run):
    for unit in units(tiny_run.spec):
        made = seeded_weights(tiny_run.spec, unit)
        assert list(made) == sorted(made)
        assert {name: values.shape for name, values in made.items()} == unit_shapes(tiny_run.spec.model, unit)
        assert all(values.dtype == np.float32 for values in made.values())


def test_norm_weights_are_ones(tiny_run):
    assert (seeded_weights(tiny_run.spec, "head")["model.norm.weight"] == 1).all()


def test_matrices_have_the_spread_the_spec_asks_for(tiny_run):
    wide = replace(tiny_run.spec, model=replace(tiny_run.spec.model, vocab_size=4096))
    values = seeded_weights(wide, "embed")["model.embed_tokens.weight"]
    assert abs(float(values.mean())) < 2e-4
    assert float(values.std()) == pytest.approx(0.02, rel=0.01)


def test_projections_into_the_residual_stream_are_smaller(tiny_run):
    block = seeded_weights(tiny_run.spec, "layers.0")
    down, up = (block[f"model.layers.0.mlp.{name}_proj.weight"].std() for name in ("down", "up"))
    assert float(down / up) == pytest.approx((2 * tiny_run.spec.model.num_hidden_layers) ** -0.5, rel=0.1)


def test_another_seed_or_layer_gives_other_weights(tiny_run):
    spec, other = tiny_run.spec, replace(tiny_run.spec, seed=8)
    name = "self_attn.q_proj.weight"
    made = [
        seeded_weights(which, unit)[f"model.{unit}.{name}"]
        for which, unit in ((spec, "layers.0"), (spec, "layers.1"), (other, "layers.0"))
    ]
    assert not np.array_equal(made[0], made[1])
    assert not np.array_equal(made[0], made[2])


def test_the_size_of_a_chunk_changes_nothing(tiny_run, monkeypatch):
    whole = seeded_weights(tiny_run.spec, "embed")["model.embed_tokens.weight"]
    monkeypatch.setattr(weights, "CHUNK_VALUES", 1000)
    assert np.array_equal(whole, seeded_weights(tiny_run.spec, "embed")["model.embed_tokens.weight"])


@pytest.mark.slow
def test_no_instruction_set_changes_a_bit(tiny_run):
    settings = [
        {"ATEN_CPU_CAPABILITY": "default", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3 AVX512F AVX512_SKX"},
        {"ATEN_CPU_CAPABILITY": "avx2"},
        {"ATEN_CPU_CAPABILITY": "avx512"},
    ]
    hashes = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", HASH_WEIGHTS],
            input=tiny_run.spec.to_bytes(),
            env={**os.environ, **setting},
            capture_output=True,
            check=True,
        ).stdout.strip()
        for setting in settings
    }
    here = hashlib.sha256()
    for unit in units(tiny_run.spec):
        for name, values in seeded_weights(tiny_run.spec, unit).items():
            here.update(name.encode() + values.tobytes())
    assert hashes == {here.hexdigest().encode()}
