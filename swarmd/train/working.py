"""The weights that products are computed with: those of the optimizer, or copies of them in bfloat16.

Mixed precision (Micikevicius et al. 2018, arXiv 1710.03740) in plain sight: matrices of products have a copy in
``numerics.dtype``, made once per weight version; a model computes each product in the type of its matrix. Norm weights
and the token table are no factors of products and have none. Gradients are those of the copies, in their type; sums
and the optimizer's weights are float32.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Unit
from swarmd.train.units import TABLE

ByUnit = Mapping[str, Mapping[str, Tensor]]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def working(spec: JobSpec, units: ByUnit) -> ByUnit:
    """What a model of this spec is made of, by unit and name. With float32 these are the very same tensors."""
    return copies(units, DTYPES[spec.numerics.dtype])


def copies(units: ByUnit, dtype: torch.dtype) -> ByUnit:
    """The same, in a type."""
    return {unit: {name: _copy(name, each, dtype) for name, each in units[unit].items()} for unit in units}


def refresh(weights_used: ByUnit, units: Mapping[str, Unit]) -> None:
    """Bring what ``working`` gave up to the optimizer's weights, in place."""
    with torch.no_grad():
        for unit, weights in weights_used.items():
            for name, copy in weights.items():
                if copy is not units[unit].weights[name]:
                    copy.copy_(units[unit].weights[name])


def _copy(name: str, weight: Tensor, dtype: torch.dtype) -> Tensor:
    if weight.dtype == dtype or weight.dim() == 1 or name == TABLE:
        return weight
    return weight.detach().to(dtype).requires_grad_(weight.requires_grad)
