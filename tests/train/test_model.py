"""The model: Hugging Face's Llama to rounding, and causal."""

from __future__ import annotations

import pytest
import torch
from safetensors.torch import load

from swarmd.train.checkpoint import open_units
from swarmd.train.export import write_model
from swarmd.train.model import Model
from swarmd.train.units import stage_units

CPU = torch.device("cpu")


def whole_model(spec):
    names = stage_units(spec.model, 0, spec.model.num_hidden_layers)
    units = open_units(spec, names, None, None, CPU)
    with torch.no_grad():  # norm weights of one would hide a mistake with them
        for unit in units.values():
            for weight in unit.weights.values():
                weight.mul_(3)
                if weight.dim() == 1:
                    weight.add_(torch.linspace(-1, 1, len(weight)))
    return units, Model(spec.model, {name: unit.weights for name, unit in units.items()})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_transformers_opens_the_weights_and_gives_the_same_logits(tiny_run, tmp_path):
    from transformers import AutoTokenizer, LlamaForCausalLM

    units, model = whole_model(tiny_run.spec)
    out = tmp_path / "model"
    out.mkdir()
    write_model(tiny_run.spec, {name: unit.weight_bytes() for name, unit in units.items()}, tiny_run.blobs, out)
    theirs = LlamaForCausalLM.from_pretrained(out, attn_implementation="eager", dtype=torch.float32)
    tokens = torch.randint(0, 256, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        ours = model(tokens)
        torch.testing.assert_close(ours, theirs(tokens).logits, rtol=1e-5, atol=1e-5)
    assert ours.std() > 0.1
    assert AutoTokenizer.from_pretrained(out).encode("while é") == list("while é".encode())


def test_no_token_sees_a_later_one(tiny_run):
    _, model = whole_model(tiny_run.spec)
    tokens = torch.randint(0, 256, (1, 16), generator=torch.Generator().manual_seed(0))
    changed = tokens.clone()
    changed[0, 10:] = 1
    with torch.no_grad():
        before, after = model(tokens), model(changed)
    assert torch.equal(before[0, :10], after[0, :10])
    assert not torch.equal(before[0, 10:], after[0, 10:])


def test_position_matters(tiny_run):
    _, model = whole_model(tiny_run.spec)
    with torch.no_grad():
        one, other = model(torch.tensor([[5, 6, 7, 9]])), model(torch.tensor([[6, 5, 7, 9]]))
    assert not torch.allclose(one[0, -1], other[0, -1])


def test_units_hold_exactly_their_parameters(tiny_run):
    units, model = whole_model(tiny_run.spec)
    stored = [name for unit in units.values() for name in load(unit.weight_bytes())]
    assert sorted(stored) == sorted(model.parameters)
    assert len(model.parameters) == 3 * 9 + 3
