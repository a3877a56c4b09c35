"""The canonical encoding: one spelling per value, and nothing else gets in."""

from __future__ import annotations

from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.canonical import MAX_DEPTH, Value, decode, encode
from swarmd.protocols.errors import ProtocolViolation

SCALARS = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary(max_size=40) | st.text(max_size=40)
VALUES: st.SearchStrategy[Value] = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=5).map(tuple), max_leaves=20
)


@given(VALUES)
def test_a_value_survives(value: Value):
    assert decode(encode(value), limit=10_000) == value


@given(st.binary(max_size=60))
def test_bytes_that_are_accepted_are_the_only_spelling(raw: bytes):
    try:
        value = decode(raw, limit=60)
    except ProtocolViolation:
        return
    assert encode(value) == raw


@given(VALUES, st.binary(min_size=1, max_size=4))
def test_trailing_bytes_are_refused(value: Value, tail: bytes):
    with pytest.raises(ProtocolViolation):
        decode(encode(value) + tail, limit=10_000)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xc1",
        b"\xcc\x05",  # 5 as an 8-bit integer: the short form is one byte
        b"\xd9\x01a",  # a short string in the long form
        msgpack.packb(1.5),
        msgpack.packb({}),
        msgpack.packb({"a": 1}),
        msgpack.packb(msgpack.ExtType(1, b"x")),
        msgpack.packb(msgpack.Timestamp(1, 0)),
        b"\xa1\xff",  # not UTF-8
        b"\xdd\xff\xff\xff\xff",  # an array of four thousand million items
        b"\xc6\xff\xff\xff\xff",
    ],
)
def test_what_is_outside_the_format_is_refused(raw: bytes):
    with pytest.raises(ProtocolViolation, match="not a canonical message"):
        decode(raw, limit=1000)


def test_deep_nesting_is_refused_both_ways():
    value: Any = ()
    for _ in range(MAX_DEPTH):
        value = (value,)
    with pytest.raises(TypeError, match="nested deeper"):
        encode(value)
    for depth in (MAX_DEPTH, 5000):
        with pytest.raises(ProtocolViolation):
            decode(b"\x91" * depth + b"\x90", limit=10_000)


def test_more_bytes_than_the_limit_are_not_even_read():
    with pytest.raises(ProtocolViolation, match="over the limit of 3"):
        decode(encode("abc"), limit=3)
    assert decode(encode("abc"), limit=4) == "abc"


@pytest.mark.parametrize("value", [1.5, [1], {"a": 1}, {1}, bytearray(b"x")])
def test_other_types_have_no_canonical_form(value: Any):
    with pytest.raises(TypeError, match="no canonical form"):
        encode((value,))
