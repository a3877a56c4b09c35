"""A layer of which only the arguments are kept: its backward pass computes it again.

Chen et al. 2016 (arXiv 1604.06174). Both times the same operations run on the same values, so results have the bits
they have without. ``torch.utils.checkpoint`` does it for any code, with random numbers and autocast; nothing here has
either.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

Layer = Callable[[Tensor, Mapping[str, Tensor]], Tensor]


def recomputed(layer: Layer, x: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """``layer(x, weights)``; autograd keeps ``x`` and ``weights``, and nothing that is made of them."""
    left: Tensor = _Recomputed.apply(layer, tuple(weights), x, *weights.values())  # type: ignore[no-untyped-call]
    return left


class _Recomputed(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: Layer, names: tuple[str, ...], x: Tensor, *weights: Tensor) -> Tensor:  # noqa: ANN401
        ctx.layer, ctx.names = layer, names
        ctx.save_for_backward(x, *weights)
        return layer(x, dict(zip(names, weights, strict=True)))

    @staticmethod
    def backward(ctx: Any, *above: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401
        needed = ctx.needs_input_grad[2:]
        x, *weights = (
            each.detach().requires_grad_(wanted) for each, wanted in zip(ctx.saved_tensors, needed, strict=True)
        )
        with torch.enable_grad():
            left = ctx.layer(x, dict(zip(ctx.names, weights, strict=True)))
        wanted = [each for each in (x, *weights) if each.requires_grad]
        found = iter(torch.autograd.grad(left, wanted, above[0]))
        return (None, None, *(next(found) if each.requires_grad else None for each in (x, *weights)))
