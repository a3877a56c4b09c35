"""One byte string per value: the encoding of everything that is hashed, signed or sent.

Values are ``None``, bool, int (64 bit), bytes, ASCII-or-UTF-8 str, and tuples of them: MessagePack arrays,
no maps, no floats, no extension types. A receiver accepts bytes only if encoding what it decoded gives
the same bytes again; that one rule refuses long-form integers, trailing bytes and every other second
spelling of one value.
"""

from __future__ import annotations

from typing import TypeAlias, cast

import msgpack

from swarmd.protocols.errors import ProtocolViolation

Value: TypeAlias = bool | int | bytes | str | tuple["Value", ...] | None

MAX_DEPTH = 16


def encode(value: Value) -> bytes:
    """The canonical bytes of a value. Raises TypeError for a type outside the format."""
    _check(value, MAX_DEPTH)
    return msgpack.packb(value, use_bin_type=True)


def decode(raw: bytes, *, limit: int) -> Value:
    """The value of canonical bytes.

    Raises:
        ProtocolViolation: over ``limit`` bytes, not MessagePack, or not the canonical spelling.
    """
    if len(raw) > limit:
        raise ProtocolViolation(f"a message of {len(raw)} bytes is over the limit of {limit}")
    try:
        value = cast(
            "Value",
            msgpack.unpackb(
                raw,
                use_list=False,
                raw=False,
                strict_map_key=True,
                max_map_len=0,
                max_ext_len=0,
                max_array_len=limit,
                max_str_len=limit,
                max_bin_len=limit,
            ),
        )
        same = encode(value) == raw
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ProtocolViolation(f"not a canonical message: {error}") from error
    if not same:
        raise ProtocolViolation("not a canonical message: a second spelling of its value")
    return value


def _check(value: Value, depth: int) -> None:
    if depth == 0:
        raise TypeError(f"nested deeper than {MAX_DEPTH}")
    if isinstance(value, tuple):
        for item in value:
            _check(item, depth - 1)
    elif value is not None and type(value) not in (bool, int, bytes, str):
        raise TypeError(f"{type(value).__name__} has no canonical form")
