"""Tensor frames: which tensor this is, and how to check and read its bytes.

A frame is a header and raw bytes. The header's key names one crossing of one boundary by one
micro-batch; the root is a BLAKE3 Merkle root over tiles of 64 rows, so that a single tile of a tensor
can later be opened against a receipt.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from math import prod

from blake3 import blake3

from swarmd.protocols.ids import RunId

FRAME_VERSION = 1
TILE_ROWS = 64
MAX_HEADER_BYTES = 1024
ITEM_BYTES = {"float32": 4, "bfloat16": 2, "int64": 8}


class Direction(IntEnum):
    """Which way, and for what, a tensor crosses a boundary."""

    FORWARD = 0
    BACKWARD = 1
    EVALUATE = 2


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """One crossing. ``boundary`` is the number of the layer after the cut."""

    run: RunId
    term: int
    step: int
    micro_batch: int
    boundary: int
    direction: int
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Everything about a tensor but its bytes."""

    version: int
    key: FrameKey
    plan: int
    """Number of the plan that put sender and receiver where they are."""
    weight_version: int
    """Optimizer steps behind the weights that made this tensor."""
    codec: str
    dtype: str
    shape: tuple[int, ...]
    root: bytes

    def __post_init__(self) -> None:
        """Raises ValueError for a header no honest peer sends."""
        if self.version != FRAME_VERSION:
            raise ValueError(f"frame version {self.version}; this node speaks {FRAME_VERSION}")
        if self.codec != "raw" or self.dtype not in ITEM_BYTES:
            raise ValueError(f"unknown codec {self.codec!r} or dtype {self.dtype!r}")
        if not 1 <= len(self.shape) <= 4 or not all(0 < size < 1 << 31 for size in self.shape):
            raise ValueError(f"impossible shape {self.shape}")
        if self.key.direction not in Direction._value2member_map_ or len(self.root) != 32:
            raise ValueError("unknown direction or a root that is not 32 bytes")
        numbers = (
            self.key.term,
            self.key.step,
            self.key.micro_batch,
            self.key.boundary,
            self.key.attempt,
            self.plan,
            self.weight_version,
        )
        if not all(0 <= number < 1 << 40 for number in numbers):
            raise ValueError("a counter is negative or absurd")

    @property
    def payload_bytes(self) -> int:
        """Bytes that follow the header."""
        return prod(self.shape) * ITEM_BYTES[self.dtype]


def tile_root(payload: bytes | bytearray | memoryview, shape: tuple[int, ...], dtype: str) -> bytes:
    """BLAKE3 Merkle root over tiles of 64 rows; a row is the last axis.

    Leaves are ``blake3(0x00 || tile)``, inner nodes ``blake3(0x01 || left || right)``; an odd node at the
    end of a level moves up as it is.
    """
    view = memoryview(payload).cast("B")
    tile = shape[-1] * ITEM_BYTES[dtype] * TILE_ROWS
    level = [blake3(b"\0").update(view[at : at + tile]).digest() for at in range(0, len(view), tile)]
    while len(level) > 1:
        paired = [
            blake3(b"\1" + left + right).digest()
            for left, right in zip(level[::2], level[1::2], strict=False)
        ]
        level = paired + level[len(paired) * 2 :]
    return level[0]
