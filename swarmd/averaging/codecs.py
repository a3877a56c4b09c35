"""How values travel: float32 as they are, 16 bits, or 8 bits with a scale for each block of 64."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Bytes = NDArray[np.uint8]

BLOCK = 64
LARGEST_HALF = 65504.0


class Codec(Protocol):
    """Float32 values to bytes and back: deterministic, and the same for a value wherever a slice begins."""

    largest: float
    """Magnitudes beyond this cannot travel."""

    def size(self, count: int) -> int:
        """Bytes of ``count`` values."""
        ...

    def encode(self, values: Floats) -> Bytes:
        """The bytes; may share memory with ``values``."""
        ...

    def decode(self, raw: Bytes, count: int) -> Floats:
        """``count`` values; may share memory with ``raw``."""
        ...


class Float32:
    """No loss."""

    largest = float(np.finfo(np.float32).max)

    def size(self, count: int) -> int:
        """Four bytes a value."""
        return 4 * count

    def encode(self, values: Floats) -> Bytes:
        """A view."""
        return values.view(np.uint8)

    def decode(self, raw: Bytes, count: int) -> Floats:
        """A view."""
        return raw.view(np.float32)


class Float16:
    """IEEE half precision: 11 bits of precision, magnitudes up to 65504."""

    largest = LARGEST_HALF

    def size(self, count: int) -> int:
        """Two bytes a value."""
        return 2 * count

    def encode(self, values: Floats) -> Bytes:
        """Round to nearest even."""
        return values.astype(np.float16).view(np.uint8)

    def decode(self, raw: Bytes, count: int) -> Floats:
        """Exact."""
        return raw.view(np.float16).astype(np.float32)


class BFloat16:
    """The upper half of a float32: 8 bits of precision, its whole range."""

    largest = 3.38e38

    def size(self, count: int) -> int:
        """Two bytes a value."""
        return 2 * count

    def encode(self, values: Floats) -> Bytes:
        """Round to nearest even."""
        bits = values.view(np.uint32)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).view(np.uint8)

    def decode(self, raw: Bytes, count: int) -> Floats:
        """Exact."""
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)


class Int8Blocks:
    """Blocks of 64 in 66 bytes: a bfloat16 scale, then whole numbers from -127 to 127. For deltas."""

    largest = 3.3e38

    def size(self, count: int) -> int:
        """66 bytes a block; the last one is filled up with zeros."""
        return -(-count // BLOCK) * (BLOCK + 2)

    def encode(self, values: Floats) -> Bytes:
        """Round to nearest even, by the scale as it travels."""
        blocks = np.zeros((-(-len(values) // BLOCK), BLOCK), np.float32)
        blocks.reshape(-1)[: len(values)] = values
        # Rounded up, so that the largest value of a block is no more than 127 of it.
        scales = np.abs(blocks).max(axis=1) / np.float32(127)
        upper = ((scales.view(np.uint32) + 0xFFFF) >> 16).astype(np.uint16)
        scale = (upper.astype(np.uint32) << 16).view(np.float32)
        numbers = np.divide(blocks, scale[:, None], out=np.zeros_like(blocks), where=scale[:, None] > 0)
        raw = np.empty((len(blocks), BLOCK + 2), np.uint8)
        raw[:, :2] = upper.view(np.uint8).reshape(-1, 2)
        raw[:, 2:] = np.clip(np.rint(numbers), -127, 127).astype(np.int8).view(np.uint8)
        return raw.reshape(-1)

    def decode(self, raw: Bytes, count: int) -> Floats:
        """Numbers times their scale."""
        rows = raw.reshape(-1, BLOCK + 2)
        upper = np.ascontiguousarray(rows[:, :2]).view(np.uint16).reshape(-1)
        scale = (upper.astype(np.uint32) << 16).view(np.float32)
        values: Floats = rows[:, 2:].view(np.int8).astype(np.float32) * scale[:, None]
        return values.reshape(-1)[:count]


CODECS: dict[str, Codec] = {
    "float32": Float32(),
    "float16": Float16(),
    "bfloat16": BFloat16(),
    "int8": Int8Blocks(),
}
