"""One byte string per value: the encoding of everything that is hashed, signed or sent.

Values are ``None``, bool, int (64 bit), bytes, ASCII-or-UTF-8 str, and tuples of them: MessagePack arrays,
no maps, no floats, no extension types. A receiver accepts bytes only if encoding what it decoded gives
the same bytes again; that one rule refuses long-form integers, trailing bytes and every other second
spelling of one value.
"""

from __future__ import annotations

from itertools import chain
from typing import TypeAlias, cast

import msgpack

from swarmd.protocols.errors import ProtocolViolation

Value: TypeAlias = bool | int | bytes | str | tuple["Value", ...] | None

MAX_DEPTH = 16
_TYPES = frozenset({bool, int, bytes, str, tuple, type(None)})


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
    """Level by level: a hostile message may have a million parts, and a call for each would hold up the event loop."""
    level: tuple[Value, ...] = (value,)
    for _ in range(depth):
        strange = set(map(type, level)) - _TYPES
        if strange:
            raise TypeError(f"{min(kind.__name__ for kind in strange)} has no canonical form")
        level = tuple(chain.from_iterable(each for each in level if type(each) is tuple))
        if not level:
            return
    raise TypeError(f"nested deeper than {MAX_DEPTH}")
