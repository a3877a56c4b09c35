"""AdamW (Loshchilov & Hutter 2019) with a limit on each unit's gradient norm, to the bit.

Every operation on tensors is one elementwise addition, multiplication, division or square root, which IEEE
754 rounds in one way only; the scalars are made in Python from the same operations. So equal gradients give
equal weights on any processor. A GPU has a faster form (``swarmd.train.fused``), equal to rounding.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from swarmd.protocols.spec import JobSpec, OptimizerSpec
from swarmd.train.checkpoint import Unit
from swarmd.train.fused import fused_adamw_, fused_squared_norm
from swarmd.train.sums import Gradients, Sums

LANES = 1 << 14
PI = 3.141592653589793


class AdamW:
    """The update of one unit at one step, from the summed gradient of the whole batch."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec.optimizer
        self._steps = spec.schedule.steps
        self._limit = float(spec.optimizer.clip) / math.sqrt(spec.model.num_hidden_layers + 2)

    def rate(self, step: int) -> float:
        """The learning rate of a step."""
        return learning_rate(self._spec, step, self._steps)

    def update(self, step: int, unit: Unit, sums: Sums) -> float:
        """Change a unit in place; gives the squared norm of its gradient before clipping."""
        gradients = {name: sums.total(name) for name in unit.weights}
        update = self.fused if next(iter(unit.weights.values())).is_cuda else self.exact
        return update(step, unit, gradients)

    def exact(self, step: int, unit: Unit, gradients: Gradients) -> float:
        """``update`` from gradients, to the bit."""
        squared = squared_norm(gradients)
        scalars = scalars_of(self._spec, step, self._steps, clip_scale(squared, self._limit))
        with torch.no_grad():
            for name, weight in unit.weights.items():
                gradient = gradients[name].to(weight.device)
                adamw_(weight, unit.exp_avg[name], unit.exp_avg_sq[name], gradient, scalars)
        return squared

    def fused(self, step: int, unit: Unit, gradients: Gradients) -> float:
        """``update`` from gradients, to rounding."""
        squared = fused_squared_norm(gradients)
        scale = clip_scale(squared, self._limit)
        fused_adamw_(unit, gradients, self._spec, step=step, rate=self.rate(step), scale=scale)
        return squared


@dataclass(frozen=True, slots=True)
class Scalars:
    """The numbers of one update; torch rounds each to float32."""

    scale: float
    beta1: float
    beta2: float
    rest1: float
    rest2: float
    rate: float
    """Learning rate / (1 - beta1^t)."""
    correction: float
    """1 / (1 - beta2^t)."""
    eps: float
    keep: float
    """1 - learning rate * weight decay."""


def adamw_(weight: Tensor, mean: Tensor, square: Tensor, gradient: Tensor, by: Scalars) -> None:
    """One update in place. All four tensors are float32 of one shape."""
    gradient = gradient * by.scale
    mean.mul_(by.beta1)
    mean.add_(gradient * by.rest1)
    square.mul_(by.beta2)
    square.add_((gradient * gradient).mul_(by.rest2))
    change = _roots(square * by.correction).add_(by.eps)
    torch.div(mean * by.rate, change, out=change)
    if weight.dim() > 1:
        weight.mul_(by.keep)
    weight.sub_(change)


def _roots(x: Tensor) -> Tensor:
    """Correctly rounded square roots. On a CPU torch asks MKL, whose rounding varies with the processor."""
    return torch.from_numpy(np.sqrt(x.numpy())) if x.device.type == "cpu" else x.sqrt()


def scalars_of(spec: OptimizerSpec, step: int, steps: int, scale: float) -> Scalars:
    """The scalars of an update; steps count from 1."""
    beta1, beta2, rate = float(spec.beta1), float(spec.beta2), learning_rate(spec, step, steps)
    return Scalars(
        scale=scale,
        beta1=beta1,
        beta2=beta2,
        rest1=1.0 - beta1,
        rest2=1.0 - beta2,
        rate=rate / (1.0 - power(beta1, step)),
        correction=1.0 / (1.0 - power(beta2, step)),
        eps=float(spec.eps),
        keep=1.0 - rate * float(spec.weight_decay),
    )


def learning_rate(spec: OptimizerSpec, step: int, steps: int) -> float:
    """Linear warm-up to ``lr``, then half a cosine down to ``min_lr`` at the last step (SGDR, 2017)."""
    top, bottom = float(spec.lr), float(spec.min_lr)
    if step < spec.warmup_steps:
        return top * step / spec.warmup_steps
    share = (step - spec.warmup_steps) / max(1, steps - spec.warmup_steps)
    return bottom + (top - bottom) * 0.5 * (1.0 + cosine_of_half_turns(min(1.0, share)))


def cosine_of_half_turns(share: float) -> float:
    """cos(pi * share) for 0 <= share <= 1, by its Taylor series: the system's library rounds as it likes."""
    if share > 0.5:
        return -cosine_of_half_turns(1.0 - share)
    squared = (PI * share) * (PI * share)
    result = 1.0
    for order in range(22, 0, -2):
        result = 1.0 - squared / (order * (order - 1)) * result
    return result


def power(base: float, exponent: int) -> float:
    """base ** exponent by squaring and multiplying."""
    result = 1.0
    while exponent:
        if exponent & 1:
            result *= base
        base *= base
        exponent >>= 1
    return result


def clip_scale(squared: float, limit: float) -> float:
    """What to multiply a unit's gradient by so that its norm is at most ``limit``."""
    norm = math.sqrt(squared)
    return limit / norm if norm > limit else 1.0


def squared_norm(gradients: Gradients) -> float:
    """Sum of squares in float64, in an order that no instruction set changes.

    Parameters, in name order and flattened, are dealt onto 2^14 lanes, each from lane 0; then the upper half
    of the lanes is added to the lower until one is left. Squares of float32 values are exact in float64.
    """
    place = next(iter(gradients.values())).device
    lanes = torch.zeros(LANES, dtype=torch.float64, device=place)
    for name in sorted(gradients):
        for piece in torch.split(gradients[name].reshape(-1), LANES):
            wide = piece.to(torch.float64)
            lanes[: len(wide)].add_(wide.mul_(wide))
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = lanes[:half].add_(lanes[half:])
    return lanes.item()
