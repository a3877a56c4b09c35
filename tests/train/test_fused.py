"""The optimizer's form for GPUs makes the updates of the exact one, to rounding. torch has its kernel for CPUs too."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from swarmd.train.checkpoint import Unit, open_units
from swarmd.train.fused import fused_squared_norm
from swarmd.train.optim import AdamW, squared_norm

CPU = torch.device("cpu")


def unit_of(spec) -> Unit:
    return open_units(spec, ["layers.0"], None, None, CPU)["layers.0"]


def gradients_of(unit, size):
    return {name: torch.randn(weight.shape) * size for name, weight in unit.weights.items()}


@pytest.mark.parametrize("size", [1e-4, 10.0], ids=["small", "clipped"])
@pytest.mark.parametrize("eps", ["1e-08", "0.01"])
def test_it_makes_the_updates_of_the_exact_form(tiny_run, size, eps):
    spec = replace(tiny_run.spec, optimizer=replace(tiny_run.spec.optimizer, eps=eps, weight_decay="0.3", lr="0.05"))
    exact, fused, optimizer = unit_of(spec), unit_of(spec), AdamW(spec)
    torch.manual_seed(3)
    for step in range(1, 6):
        gradients = gradients_of(exact, size)
        before = {name: gradient.clone() for name, gradient in gradients.items()}
        squares = optimizer.exact(step, exact, gradients), optimizer.fused(step, fused, gradients)
        assert squares[0] == pytest.approx(squares[1], rel=1e-12)
        assert all(torch.equal(gradients[name], before[name]) for name in before)
    for name, weight in exact.weights.items():
        for one, other in (
            (weight.detach(), fused.weights[name].detach()),
            (exact.exp_avg[name], fused.exp_avg[name]),
            (exact.exp_avg_sq[name], fused.exp_avg_sq[name]),
        ):
            torch.testing.assert_close(one, other, rtol=2e-5, atol=1e-7)
    assert not torch.equal(*(each.weights["model.layers.0.mlp.up_proj.weight"] for each in (exact, unit_of(spec))))


def test_norm_weights_are_not_decayed(tiny_run):
    spec = replace(tiny_run.spec, optimizer=replace(tiny_run.spec.optimizer, weight_decay="0.5"))
    unit, start = unit_of(spec), unit_of(spec)
    AdamW(spec).fused(1, unit, {name: torch.zeros_like(weight) for name, weight in unit.weights.items()})
    for name, weight in unit.weights.items():
        assert torch.equal(weight, start.weights[name]) == (weight.dim() == 1)


def test_its_norm_is_that_of_all_gradients():
    torch.manual_seed(1)
    gradients = {"b": torch.randn(300, 301), "a": torch.randn(7)}
    assert fused_squared_norm(gradients) == pytest.approx(squared_norm(gradients), rel=1e-13)


def test_a_cpu_keeps_to_the_exact_form(tiny_run, monkeypatch):
    unit, optimizer = unit_of(tiny_run.spec), AdamW(tiny_run.spec)
    monkeypatch.setattr(AdamW, "fused", None)
    sums = type("Sums", (), {"total": lambda self, name: torch.ones_like(unit.weights[name])})()
    assert optimizer.update(1, unit, sums) == sum(weight.numel() for weight in unit.weights.values())
