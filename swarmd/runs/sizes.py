"""How large each blob of a run may be: all of it follows from the spec, so no peer is believed about sizes."""

from __future__ import annotations

from collections.abc import Iterator

from swarmd.protocols.checkpoint import EMBED, HEAD, UnitState, layer_unit
from swarmd.protocols.footprint import (
    FLOAT,
    embedding_parameters,
    head_parameters,
    layer_parameters,
    parameter_count,
)
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import JobSpec, ModelSpec

KEPT_CHECKPOINTS = 2
"""Checkpoints that stay on disk: the newest, and the one that others may still be fetching."""
HEADER_BYTES = 1 << 16
"""Names and shapes in front of a unit's tensors."""
ITEM_BYTES = {"u16": 2, "u32": 4}
WEIGHTS, MOMENTS = FLOAT, 2 * FLOAT
"""Bytes per parameter of a unit's two blobs."""

Sized = tuple[BlobHash, int]
"""A blob, and the most bytes it may have."""


def unit_names_of(model: ModelSpec, first: int, end: int) -> tuple[str, ...]:
    """The units of a stage that holds layers [first, end), in the order data flows through them."""
    blocks = tuple(layer_unit(layer) for layer in range(first, end))
    return (EMBED,) * (first == 0) + blocks + (HEAD,) * (end == model.num_hidden_layers)


def shard_sizes(spec: JobSpec) -> tuple[Sized, ...]:
    """Every token shard."""
    width, shards = ITEM_BYTES[spec.data.dtype], (*spec.data.train, *spec.data.held_out)
    return tuple({shard.blob: shard.tokens * width for shard in shards}.items())


def unit_sizes(spec: JobSpec, state: UnitState) -> Iterator[Sized]:
    """The blobs of one unit's state."""
    parameters = _parameters(spec.model, state.unit)
    yield state.weights, WEIGHTS * parameters + HEADER_BYTES
    if state.optimizer is not None:
        yield state.optimizer, MOMENTS * parameters + HEADER_BYTES


def disk_bytes(spec: JobSpec) -> int:
    """Most bytes a stage's files may take: shards, and the checkpoints it keeps, is writing, or gives away."""
    shards = sum(size for _, size in shard_sizes(spec))
    return shards + (KEPT_CHECKPOINTS + 2) * (WEIGHTS + MOMENTS) * parameter_count(spec.model)


def _parameters(model: ModelSpec, unit: str) -> int:
    if unit == EMBED:
        return embedding_parameters(model)
    return head_parameters(model) if unit == HEAD else layer_parameters(model)
