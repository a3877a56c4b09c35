"""A model in subspace form: any cut gives the plain loop's bits, less crosses, and a plain Llama comes out."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from blake3 import blake3

from swarmd.protocols.codecs import WIRES
from swarmd.protocols.spec import WireSpec
from swarmd.train.checkpoint import open_units, store_units
from swarmd.train.export import export, write_model
from swarmd.train.folder import evaluate_model, open_model
from swarmd.train.loop import EvalRow, train
from swarmd.train.metrics import metrics_lines
from swarmd.train.model import Model
from swarmd.train.subspace import open_subspace, orthonormal
from swarmd.train.timing import time_micro_batch
from swarmd.train.units import stage_units, unit_shapes
from swarmd.train.weights import seeded_weights
from tests.train.test_stage import CUTS, bits, comparable, one_step, pipelined, snapshot, stages_of

CPU = torch.device("cpu")
WIDTH = 8


def narrowed(run, wire="raw", width=WIDTH):
    """The run with a subspace and this wire."""
    forward, backward = WIRES[wire]
    boundaries = () if wire == "raw" else (1, 2)
    return run.changed(
        model=replace(run.spec.model, subspace=width),
        wire=WireSpec(forward=forward, backward=backward, boundaries=boundaries),
    )


@pytest.fixture
def narrow_run(tiny_run):
    return narrowed(tiny_run)


class TestBasis:
    def test_its_bits_are_the_same_everywhere(self):
        rows = (np.arange(120) ** 3 % 97 - 48.0).reshape(8, 15)
        made = orthonormal(rows).astype("<f8").tobytes()
        assert blake3(made).hexdigest(length=8) == "e196ca46e3f5b52f"

    @pytest.mark.parametrize(("count", "width"), [(1, 2), (3, 3), (7, 33), (64, 64)])
    def test_rows_become_orthonormal_and_keep_their_span(self, count, width):
        rows = np.random.default_rng(0).normal(size=(count, width))
        made = orthonormal(rows)
        np.testing.assert_allclose(made @ made.T, np.eye(count), atol=1e-14)
        np.testing.assert_allclose(rows @ made.T @ made, rows, atol=1e-12)

    def test_it_follows_from_the_spec_alone(self, narrow_run):
        one, other = (open_subspace(narrow_run.spec, CPU) for _ in range(2))
        assert torch.equal(one.basis, other.basis)
        assert torch.equal(one.table, other.table)
        another = open_subspace(narrow_run.changed(seed=8).spec, CPU)
        assert not torch.equal(one.basis, another.basis)
        assert not torch.equal(one.table, another.table)

    def test_a_model_of_full_rank_has_none(self, tiny_run):
        assert open_subspace(tiny_run.spec, CPU) is None

    def test_a_hidden_state_is_its_tokens_row_and_a_vector_of_the_span(self, narrow_run):
        subspace = open_subspace(narrow_run.spec, CPU)
        ids, c = torch.tensor([[3, 250]]), torch.randn(1, 2, WIDTH, generator=torch.Generator().manual_seed(0))
        x = subspace.lift(c, ids)
        torch.testing.assert_close((x - subspace.table[ids]) @ subspace.basis, c)


class TestWeights:
    def test_what_is_added_before_the_last_block_are_coefficients(self, narrow_run):
        model = narrow_run.spec.model
        assert unit_shapes(model, "embed") == {"model.embed_tokens.weight": (256, WIDTH)}
        for layer, written in ((0, WIDTH), (1, WIDTH), (2, 32)):
            shapes = unit_shapes(model, f"layers.{layer}")
            assert shapes[f"model.layers.{layer}.self_attn.o_proj.weight"] == (written, 32)
            assert shapes[f"model.layers.{layer}.mlp.down_proj.weight"] == (written, 48)

    def test_they_add_as_much_to_the_residual_stream_as_at_full_rank(self, narrow_run, tiny_run):
        name = "model.embed_tokens.weight"
        narrow, full = (seeded_weights(run.spec, "embed")[name] for run in (narrow_run, tiny_run))
        assert np.linalg.norm(narrow) == pytest.approx(np.linalg.norm(full), rel=0.05)


class TestBits:
    @pytest.mark.slow
    @pytest.mark.parametrize("ends", [(3,), *CUTS[1:]])
    @pytest.mark.parametrize("wire", WIRES)
    def test_any_cut_in_any_order_gives_the_bits_of_the_loop(self, tiny_run, wire, ends):
        run = narrowed(tiny_run, wire)
        expected = train(run.spec, run.data)
        for seed in range(2):
            stages = stages_of(run, ends)
            assert pipelined(run, stages, random.Random(seed)) == comparable(expected.rows)
            assert snapshot(stages) == bits(expected)

    @pytest.mark.slow
    def test_a_run_goes_on_with_another_cut_at_the_same_bits(self, narrow_run):
        expected = train(narrow_run.spec, narrow_run.data)
        stages = stages_of(narrow_run, (1, 2, 3))
        for step in (1, 2):
            one_step(stages, step, random.Random(step))
        units = {name: unit for stage in stages for name, unit in stage.units.items()}
        stages = stages_of(narrow_run, (2, 3), store_units(2, units, narrow_run.blobs))
        pipelined(narrow_run, stages, random.Random(0))
        assert snapshot(stages) == bits(expected)

    @pytest.mark.slow
    def test_training_lowers_the_loss(self, narrow_run):
        rows = [row.loss for row in train(narrow_run.spec, narrow_run.data).rows if isinstance(row, EvalRow)]
        assert rows[-1] < rows[0] - 0.01


@pytest.mark.slow
def test_the_probe_times_it_too(narrow_run):
    assert all(time > 0 for time in time_micro_batch(narrow_run.spec, "cpu"))


class TestExport:
    @pytest.mark.slow
    @pytest.mark.parametrize("width", [2, 8, 32])
    @pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
    def test_transformers_opens_it_as_a_plain_llama_with_the_same_logits(self, tiny_run, tmp_path, width):
        from transformers import LlamaForCausalLM

        spec = narrowed(tiny_run, width=width).spec
        units = open_units(spec, stage_units(spec.model, 0, 3), None, None, CPU)
        with torch.no_grad():
            for weight in (weight for unit in units.values() for weight in unit.weights.values()):
                weight.mul_(3)
        write_model(spec, {name: unit.weight_bytes() for name, unit in units.items()}, tiny_run.blobs, tmp_path)
        theirs = LlamaForCausalLM.from_pretrained(tmp_path, attn_implementation="eager", dtype=torch.float32)
        weights = {name: unit.weights for name, unit in units.items()}
        tokens = torch.randint(0, 256, (2, 64), generator=torch.Generator().manual_seed(0))
        with torch.no_grad():
            ours = Model(spec.model, weights, WireSpec(), open_subspace(spec, CPU))(tokens)
            torch.testing.assert_close(theirs(tokens).logits, ours, rtol=1e-5, atol=1e-5)
        assert ours.std() > 0.1

    @pytest.mark.slow
    def test_its_loss_is_that_of_the_last_step_to_rounding_and_can_be_computed_again(self, narrow_run, tmp_path):
        trained = train(narrow_run.spec, narrow_run.data)
        units = {name: unit.weight_bytes() for name, unit in trained.units.items()}
        metrics = metrics_lines(trained.rows)
        made = export(narrow_run.spec, units, narrow_run.blobs, narrow_run.data, metrics, tmp_path / "model")
        assert made.loss == pytest.approx(trained.rows[-1].loss, abs=1e-6)
        spec, model = open_model(made.out)
        assert spec == narrow_run.spec
        assert evaluate_model(spec, model, made.out).loss == made.loss
