"""Backward in two parts: the input's gradient, which another stage waits for, and later the weights'.

A matrix product ``y = x @ w.T`` needs only y's gradient to give x's. So the first part asks autograd for the
gradient of what entered the stage, and of every product's output on the way; it skips the weights. The second
asks each product for its weight's gradient. Both parts run the same operations on the same values as one whole backward
does: the bits are the same, and what is done twice is nothing but bookkeeping. Zero Bubble, Qi et al. 2023.

Weights that are no matrix of a product (norms, the embedding) get their gradients in the first part.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from torch.autograd.graph import GradientEdge, Node, get_gradient_edge


@dataclass(slots=True)
class Deferred:
    """What the second part needs: the graph, and for each product its output's gradient."""

    _found: dict[str, Tensor]
    _products: list[tuple[str, Tensor, GradientEdge, Tensor]] = field(default_factory=list)

    def gradients(self) -> dict[str, Tensor]:
        """Every weight's gradient by name; once."""
        while self._products:
            name, weight, product, above = self._products.pop()
            # One at a time: asked together, a product would also hand its gradient on to those before it.
            (self._found[name],) = torch.autograd.grad((product,), (weight,), (above,))
        return self._found


def all_at_once(
    left: Tensor, entered: Tensor, parameters: Mapping[str, Tensor], above: Tensor | None
) -> tuple[Tensor, Deferred]:
    """As ``input_first``, with nothing left to compute: for graphs whose products autograd does not see."""
    *weights, first = torch.autograd.grad(left, [*parameters.values(), entered], above)
    return first, Deferred(dict(zip(parameters, weights, strict=True)))


def input_first(
    left: Tensor, entered: Tensor, parameters: Mapping[str, Tensor], above: Tensor | None
) -> tuple[Tensor, Deferred]:
    """The gradient of ``entered``, and what is left to do.

    ``left`` was computed from ``entered`` and ``parameters``; ``above`` is its gradient, None for a loss.
    """
    products = _products(left, parameters)
    now = [name for name in parameters if name not in products]
    wanted: list[Any] = [entered, *(parameters[name] for name in now), *products.values()]
    found = torch.autograd.grad((left,), wanted, None if above is None else (above,), retain_graph=True)
    early = dict(zip(now, found[1:], strict=False))
    late = zip(products.items(), found[1 + len(now) :], strict=True)
    return found[0], Deferred(early, [(name, parameters[name], edge, gradient) for (name, edge), gradient in late])


def _products(left: Tensor, parameters: Mapping[str, Tensor]) -> dict[str, GradientEdge]:
    """The product that each matrix goes into; only where it goes, transposed, into exactly one."""
    users = _users(left)
    found: dict[str, GradientEdge] = {}
    for name, weight in parameters.items():
        transposes = users.get(get_gradient_edge(weight).node, [])
        products = users.get(transposes[0], []) if len(transposes) == 1 else []
        if len(products) == 1 and (transposes[0].name(), products[0].name()) == ("TBackward0", "MmBackward0"):
            found[name] = GradientEdge(products[0], 0)
    return found


def _users(left: Tensor) -> dict[Node, list[Node]]:
    """For each operation that ``left`` came from, those that use its result."""
    root = get_gradient_edge(left).node
    users: dict[Node, list[Node]] = {root: []}
    waiting = [root]
    while waiting:
        user = waiting.pop()
        for node, _ in user.next_functions:
            if node is not None:
                if node not in users:
                    waiting.append(node)
                users.setdefault(node, []).append(user)
    return users
