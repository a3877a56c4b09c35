"""How much work a stage does: floating-point operations, the unit that providers are paid for.

Counted from the spec alone, so payer and provider agree to the unit and anybody can check an invoice: two operations
for each weight and token of a matrix product, and the two products of attention over the whole square of positions.
Going back costs twice the way there (Kaplan et al., arXiv 2001.08361, section 2.1).
"""

from __future__ import annotations

from swarmd.protocols.footprint import head_parameters, layer_parameters
from swarmd.protocols.spec import JobSpec

PRICED_OPERATIONS = 10**12
"""A price is micro-credits for so many operations."""


def forward_operations(spec: JobSpec, first: int, end: int) -> int:
    """Operations of one micro-batch's way forward through layers ``first`` to ``end - 1``.

    The last stage's share includes the output matrix; reading the token table costs nothing.
    """
    heads = end == spec.model.num_hidden_layers
    return (end - first) * layer_operations(spec) + heads * head_operations(spec)


def layer_operations(spec: JobSpec) -> int:
    """Operations of one micro-batch's way forward through one layer."""
    attention = 4 * spec.batch.sequence_length * spec.model.hidden_size
    return _tokens(spec) * (2 * layer_parameters(spec.model) + attention)


def head_operations(spec: JobSpec) -> int:
    """Operations of one micro-batch's way forward through the output matrix."""
    return _tokens(spec) * 2 * head_parameters(spec.model)


def backward_operations(spec: JobSpec, first: int, end: int) -> int:
    """Operations of its way back."""
    return 2 * forward_operations(spec, first, end)


def _tokens(spec: JobSpec) -> int:
    return spec.batch.sequence_length * spec.batch.micro_batch_size


def amount_of(operations: int, price: int) -> int:
    """Micro-credits for all operations so far at ``price`` per PRICED_OPERATIONS; rounded down, once."""
    return operations * price // PRICED_OPERATIONS
