"""What crosses the boundaries of a run: its shape, its codec and its bytes, for all who plan, send or expect it."""

from __future__ import annotations

from swarmd.protocols.codecs import payload_bytes, row_bytes
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction


def boundary_shape(spec: JobSpec) -> tuple[int, int, int]:
    """Shape of a boundary tensor: sequences, tokens, numbers per token."""
    return (spec.batch.micro_batch_size, spec.batch.sequence_length, spec.model.boundary_width)


def frame_codec(spec: JobSpec, direction: int) -> str:
    """The codec of the frames of a direction: gradients have one, all else the other.

    Where a model has a subspace, rows that go forward end with the token's id: the stages between have no tokens.
    """
    if direction == Direction.BACKWARD:
        return spec.wire.backward
    return f"{spec.wire.forward}+{spec.data.dtype}" if spec.model.subspace else spec.wire.forward


def token_bytes(spec: JobSpec, direction: int) -> int:
    """Bytes of one token's row on the wire."""
    return row_bytes(frame_codec(spec, direction), spec.model.boundary_width)


def frame_bytes(spec: JobSpec, direction: int) -> int:
    """Bytes of one micro-batch on the wire."""
    return payload_bytes(frame_codec(spec, direction), boundary_shape(spec))
