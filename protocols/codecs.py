"""Wire codecs: by which rule a boundary tensor becomes bytes, and how many bytes that is.

A tensor of shape [..., W] crosses as its rows, one after another; a row is the last axis, and its bytes stand
for themselves, so any run of rows can be checked and decoded alone. Everything is little-endian.

=====  ==================================================================  =====================
codec  one row of W numbers                                                bytes
=====  ==================================================================  =====================
raw    float32                                                             4 W
bf16   bfloat16, rounded to nearest, ties to even                          2 W
int8   W integers -127..127, then a scale for each block of 64             W + 2 ceil(W / 64)
int4   W integers -7..7, two a byte, then a scale for each block of 64     W / 2 + 2 ceil(W / 64)
=====  ==================================================================  =====================

The last block of a row may be short. ``int4`` puts the number of even index into the low half of a byte, eight
added to it; an odd W has no ``int4``. A block's scale is its largest magnitude divided by 127 or 7, a bfloat16:
two bytes with the range of float32, which gradients of large steps need, and products with the integers are
exact. A scale below 2^-126 is written as 0, and so are its integers. Nothing but ``raw`` takes a number that is not
finite, or over 2^127 in magnitude.

A row may end with the id of its token, in 2 or 4 bytes: its codec is then called ``int8+u16``, ``raw+u32`` and so on.
No job asks for that; frames have it where a model in subspace form needs it.
"""

from __future__ import annotations

from math import prod

RAW, BF16, INT8, INT4 = "raw", "bf16", "int8", "int4"
CODECS = (RAW, BF16, INT8, INT4)
"""Least lossy first."""
BLOCK = 64
"""Numbers that share a scale."""
SCALE_BYTES = 2
LEVELS = {INT8: 127, INT4: 7}
"""The largest integer of a codec that has scales."""
ITEM_BYTES = {"float64": 8, "float32": 4, "bfloat16": 2, "int64": 8, "uint8": 1}
ID_BYTES = {"u16": 2, "u32": 4}
"""Of a token id."""
WITH_IDS = {f"{codec}+{ids}": (codec, ids) for codec in CODECS for ids in ID_BYTES}
"""Codecs of rows that end with a token id: what the row is without it, and the id's width."""

WIRES: dict[str, tuple[str, str]] = {
    "raw": (RAW, RAW),
    "bf16": (BF16, BF16),
    "int8": (INT8, INT8),
    "int8/int4": (INT8, INT4),
    "int4": (INT4, INT4),
}
"""What a job may ask for: its name, and the codecs of activations and of gradients. Least lossy first."""


def wire_name(forward: str, backward: str) -> str | None:
    """The name of a pair of codecs, or None for a pair that no job may have."""
    return next((name for name, pair in WIRES.items() if pair == (forward, backward)), None)


def row_bytes(codec: str, width: int, dtype: str = "float32") -> int:
    """Bytes of one row of ``width`` numbers.

    Raises ValueError for an unknown codec or dtype, and for a row the codec has no form for.
    """
    if codec in WITH_IDS:
        plain, ids = WITH_IDS[codec]
        return row_bytes(plain, width, dtype) + ID_BYTES[ids]
    if codec not in CODECS or dtype not in ITEM_BYTES:
        raise ValueError(f"unknown codec {codec!r} or dtype {dtype!r}")
    if codec == RAW:
        return width * ITEM_BYTES[dtype]
    if dtype != "float32":
        raise ValueError(f"{codec} is a form of float32, not of {dtype}")
    if codec == BF16:
        return 2 * width
    if codec == INT4 and width % 2:
        raise ValueError(f"int4 puts two numbers into a byte; a row of {width} has no such form")
    return (width if codec == INT8 else width // 2) + SCALE_BYTES * -(-width // BLOCK)


def payload_bytes(codec: str, shape: tuple[int, ...], dtype: str = "float32") -> int:
    """Bytes of a whole tensor on the wire. Raises as ``row_bytes`` does."""
    return prod(shape[:-1]) * row_bytes(codec, shape[-1], dtype)
