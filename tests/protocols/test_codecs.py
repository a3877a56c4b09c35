"""How many bytes a tensor has on the wire, by codec."""

from __future__ import annotations

import dataclasses

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.codecs import CODECS, WIRES, WITH_IDS, payload_bytes, row_bytes, wire_name
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import RunId
from swarmd.protocols.tensors import (
    PREFIX_BYTES,
    FrameHeader,
    FrameKey,
    encode_header,
    parse_header,
    parse_prefix,
    tile_root,
)

KEY = FrameKey(RunId("ab" * 32), 1, 2, 3, 4, 0)


@pytest.mark.parametrize(
    ("codec", "width", "expected"),
    [
        ("raw", 128, 512),
        ("bf16", 128, 256),
        ("int8", 128, 128 + 4),
        ("int4", 128, 64 + 4),
        ("int8", 65, 65 + 4),
        ("int8", 1, 1 + 2),
        ("int4", 66, 33 + 4),
        ("int4", 2, 1 + 2),
        ("raw+u16", 16, 64 + 2),
        ("int8+u32", 65, 65 + 4 + 4),
    ],
)
def test_a_row_s_bytes_follow_from_codec_and_width(codec: str, width: int, expected: int) -> None:
    assert row_bytes(codec, width) == expected
    assert payload_bytes(codec, (2, 3, width)) == 6 * expected
    assert payload_bytes(codec, (width,)) == expected


@pytest.mark.parametrize(
    ("codec", "width", "dtype", "why"),
    [
        ("zip", 64, "float32", "unknown codec 'zip'"),
        ("raw+", 64, "float32", "unknown codec 'raw\\+'"),
        ("raw+u8", 64, "float32", "unknown codec 'raw\\+u8'"),
        ("raw+u16+u16", 64, "float32", "unknown codec"),
        ("raw", 64, "object", "unknown .* dtype 'object'"),
        ("int8", 64, "bfloat16", "int8 is a form of float32, not of bfloat16"),
        ("int4", 63, "float32", "a row of 63 has no such form"),
    ],
)
def test_what_has_no_form_is_refused_in_words(codec: str, width: int, dtype: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        row_bytes(codec, width, dtype)


def test_every_wire_has_one_name() -> None:
    assert [wire_name(*pair) for pair in WIRES.values()] == list(WIRES)
    assert wire_name("int4", "int8") is None


@given(st.sampled_from([*CODECS, *WITH_IDS]), st.lists(st.integers(1, 100), min_size=1, max_size=4).map(tuple))
def test_a_header_is_read_as_it_was_written_whatever_the_codec(codec: str, shape: tuple[int, ...]) -> None:
    if codec.startswith("int4") and shape[-1] % 2:
        with pytest.raises(ValueError, match="no such form"):
            FrameHeader(1, KEY, 1, 0, codec, "float32", shape, bytes(32))
        return
    header = FrameHeader(1, KEY, 1, 0, codec, "float32", shape, bytes(32))
    raw = encode_header(header)
    prefix = parse_prefix(raw[:PREFIX_BYTES], payload_limit=header.payload_bytes)
    assert prefix.payload_bytes == payload_bytes(codec, shape)
    assert parse_header(prefix, raw[PREFIX_BYTES:]) == header


def test_a_payload_of_another_codec_s_length_is_refused() -> None:
    raw = encode_header(FrameHeader(1, KEY, 1, 0, "int8", "float32", (2, 64), bytes(32)))
    prefix = parse_prefix(raw[:PREFIX_BYTES], payload_limit=1000)
    for length in (2 * 64 * 4, 2 * 34):
        with pytest.raises(ProtocolViolation, match="bytes follow where the header has 132"):
            parse_header(dataclasses.replace(prefix, payload_bytes=length), raw[PREFIX_BYTES:])


@pytest.mark.parametrize("codec", [*CODECS, *WITH_IDS])
def test_a_tile_is_64_rows_of_the_wire(codec: str) -> None:
    row = row_bytes(codec, 64)
    payload = bytes(at % 251 for at in range(65 * row))
    whole, rest = blake3(b"\0" + payload[: 64 * row]).digest(), blake3(b"\0" + payload[64 * row :]).digest()
    assert tile_root(payload, (5, 13, 64), "float32", codec) == blake3(b"\1" + whole + rest).digest()
