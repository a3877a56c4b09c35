"""AdamW: torch's to rounding, ours to the bit; a schedule and norms that no library can change."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from swarmd.protocols.spec import OptimizerSpec
from swarmd.train.optim import (
    adamw_,
    clip_scale,
    cosine_of_half_turns,
    learning_rate,
    power,
    scalars_of,
    squared_norm,
)

SPEC = OptimizerSpec(warmup_steps=4)

HASH_UPDATES = """
import hashlib, torch
from swarmd.protocols.spec import OptimizerSpec
from swarmd.train.optim import adamw_, scalars_of, squared_norm
def numbers(seed, scale):
    return ((torch.arange(30011) * (2 * seed + 1) * 7919) % 65521 - 32760).float() * scale
weight, gradient = numbers(1, 1e-6).view(1, -1), numbers(2, 1e-7).view(1, -1)
mean, square = torch.zeros_like(weight), torch.zeros_like(weight)
for step in range(1, 6):
    adamw_(weight, mean, square, gradient * step, scalars_of(OptimizerSpec(), step, 5, 0.7))
print(hashlib.sha256(weight.numpy().tobytes() + square.numpy().tobytes()).hexdigest())
print(squared_norm({"g": gradient, "h": weight}).hex())
"""


def test_updates_are_those_of_torch_to_rounding():
    torch.manual_seed(0)
    weight, bias = torch.randn(6, 5), torch.randn(5)
    ours = [weight.clone(), bias.clone()]
    moments = [(torch.zeros_like(x), torch.zeros_like(x)) for x in ours]
    theirs = [weight.clone().requires_grad_(), bias.clone().requires_grad_()]
    reference = torch.optim.AdamW(
        [{"params": theirs[:1], "weight_decay": 0.1}, {"params": theirs[1:], "weight_decay": 0.0}],
        betas=(0.9, 0.95),
        eps=1e-8,
    )
    for step in range(1, 11):
        for parameter in theirs:
            parameter.grad = torch.randn_like(parameter)
        for group in reference.param_groups:
            group["lr"] = learning_rate(SPEC, step, 10)
        reference.step()
        for x, (mean, square), parameter in zip(ours, moments, theirs, strict=True):
            adamw_(x, mean, square, parameter.grad, scalars_of(SPEC, step, 10, 1.0))
    for x, parameter in zip(ours, theirs, strict=True):
        torch.testing.assert_close(x, parameter.detach(), rtol=1e-5, atol=1e-6)


def test_clipping_scales_the_gradient_before_anything_else():
    one, other = (torch.zeros(2, 2) for _ in range(2))
    moments = [torch.zeros(2, 2) for _ in range(4)]
    gradient = torch.tensor([[3.0, 0.0], [0.0, 4.0]])
    adamw_(one, moments[0], moments[1], gradient, scalars_of(SPEC, 1, 10, 0.25))
    adamw_(other, moments[2], moments[3], gradient * 0.25, scalars_of(SPEC, 1, 10, 1.0))
    assert torch.equal(one, other)


def test_a_norm_above_the_limit_is_brought_to_it():
    assert clip_scale(25.0, 1.0) == 0.2
    assert clip_scale(25.0, 5.0) == clip_scale(0.0, 1.0) == 1.0


@pytest.mark.parametrize("share", [0.0, 1e-9, 0.1, 0.25, 1 / 3, 0.5, 0.7, 0.999, 1.0])
def test_the_cosine_is_right_to_the_last_digits(share):
    assert cosine_of_half_turns(share) == pytest.approx(math.cos(math.pi * share), abs=3e-16)


def test_powers_are_right():
    assert [power(0.5, n) for n in (0, 1, 2, 10)] == [1.0, 0.5, 0.25, 2.0**-10]
    assert power(0.95, 12345) == pytest.approx(0.95**12345, rel=1e-12)


def test_the_rate_rises_then_falls_to_its_floor():
    rates = [learning_rate(SPEC, step, 12) for step in range(1, 13)]
    assert rates[:4] == [0.0015 * step / 4 for step in range(1, 5)]
    assert rates[3:] == sorted(rates[3:], reverse=True)
    assert rates[7] == pytest.approx((0.0015 + 0.00015) / 2)
    assert rates[-1] == pytest.approx(0.00015)


def test_a_run_may_be_all_warm_up_or_have_none():
    assert learning_rate(replace(SPEC, warmup_steps=5), 5, 5) == 0.0015
    assert learning_rate(replace(SPEC, warmup_steps=0), 1, 1) == pytest.approx(0.00015)


def test_a_norm_is_the_sum_of_squares_whatever_the_shapes():
    torch.manual_seed(1)
    gradients = {"b": torch.randn(300, 301), "a": torch.randn(7), "c": torch.randn(3, 1, 2)}
    expected = sum(x.double().square().sum().item() for x in gradients.values())
    assert squared_norm(gradients) == pytest.approx(expected, rel=1e-14)
    assert squared_norm(dict(sorted(gradients.items()))) == squared_norm(gradients)


def test_square_roots_are_rounded_as_ieee_754_says():
    """With every other scalar neutral, a weight of zero becomes minus one over the root."""
    x = torch.arange(1, 30000, dtype=torch.float32) * 1e-7
    weight, mean, square = torch.zeros(1, len(x)), torch.zeros(1, len(x)), x[None].clone()
    by = replace(scalars_of(SPEC, 1, 10, 1.0), beta2=1.0, correction=1.0, eps=0.0, beta1=1.0, rate=1.0)
    adamw_(weight, mean.fill_(1.0), square, torch.zeros_like(weight), by)
    expected = np.float32(1) / np.sqrt(x.numpy())
    assert np.array_equal(-weight[0].numpy(), expected)


INSTRUCTION_SETS = [
    {"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE"},
    {"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2"},
    {"ATEN_CPU_CAPABILITY": "avx512"},
]


@pytest.mark.slow
def test_no_instruction_set_changes_a_bit():
    outputs = {
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", HASH_UPDATES],
            env={**os.environ, **setting},
            capture_output=True,
            check=True,
        ).stdout
        for setting in INSTRUCTION_SETS
    }
    assert len(outputs) == 1
