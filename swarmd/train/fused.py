"""AdamW as a GPU does it fast: one kernel for all matrices of a unit, one for its vectors, and one wait for the norm.

The update is that of ``swarmd.train.optim``, with roundings of its own, so it is part of a GPU's numerics class. It has
no order to keep: a kernel's sums depend on shapes alone.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swarmd.protocols.spec import OptimizerSpec
from swarmd.train.checkpoint import Unit
from swarmd.train.sums import Gradients


def fused_squared_norm(gradients: Gradients) -> float:
    """Sum of squares in float64."""
    norms = [torch.linalg.vector_norm(gradients[name], dtype=torch.float64) for name in sorted(gradients)]
    return torch.stack(norms).square_().sum().item()


def fused_adamw_(
    unit: Unit, gradients: Gradients, spec: OptimizerSpec, *, step: int, rate: float, scale: float
) -> None:
    """Change a unit in place: gradients times ``scale``, at a learning rate. Steps count from 1."""
    matrices = [name for name, weight in unit.weights.items() if weight.dim() > 1]
    vectors = [name for name in unit.weights if name not in matrices]
    for names, decay in ((matrices, float(spec.weight_decay)), (vectors, 0.0)):
        if names:
            _update(unit, names, _scaled([gradients[name] for name in names], scale), spec, step, rate, decay)


def _scaled(gradients: list[Tensor], scale: float) -> list[Tensor]:
    return gradients if scale == 1.0 else list(torch._foreach_mul(gradients, scale))


def _update(
    unit: Unit, names: list[str], gradients: list[Tensor], spec: OptimizerSpec, step: int, rate: float, decay: float
) -> None:
    weights = [unit.weights[name] for name in names]
    counts = [torch.full((), float(step), device=weights[0].device)] * len(names)
    with torch.no_grad():
        torch._fused_adamw_(
            weights,
            gradients,
            [unit.exp_avg[name] for name in names],
            [unit.exp_avg_sq[name] for name in names],
            [],
            counts,
            lr=rate,
            beta1=float(spec.beta1),
            beta2=float(spec.beta2),
            weight_decay=decay,
            eps=float(spec.eps),
            amsgrad=False,
            maximize=False,
        )
