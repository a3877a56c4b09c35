"""Tensor frames: roots, and messages on a link."""

from __future__ import annotations

import dataclasses

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import RunId
from swarmd.protocols.records import to_value
from swarmd.protocols.tensors import (
    MAX_HEADER_BYTES,
    PREFIX_BYTES,
    Ack,
    Bye,
    Direction,
    FrameHeader,
    FrameKey,
    Message,
    Ping,
    encode_header,
    parse_header,
    parse_prefix,
    tile_root,
)

KEY = FrameKey(RunId("ab" * 32), 1, 2, 3, 4, Direction.BACKWARD)
HEADER = FrameHeader(1, KEY, 5, 6, "raw", "bfloat16", (2, 64, 8), b"\7" * 32)
LIMIT = 1 << 20
MESSAGES: list[Message] = [
    HEADER,
    Ack(KEY, b"\1" * 32, b"\2" * 64),
    Ack(KEY, b"\1" * 32),
    Bye("paused"),
    Ping(),
]


def read(raw: bytes, limit: int = LIMIT) -> Message:
    """A message as a link reads it: the prefix, then the header."""
    prefix = parse_prefix(raw[:PREFIX_BYTES], payload_limit=limit)
    return parse_header(prefix, raw[PREFIX_BYTES : PREFIX_BYTES + prefix.header_bytes])


def prefixed(header: bytes, *, version: int = 1, kind: int = 0, payload: int = 0) -> bytes:
    return bytes([version, kind]) + len(header).to_bytes(2, "big") + payload.to_bytes(4, "big") + header


@pytest.mark.parametrize("message", MESSAGES, ids=lambda message: type(message).__name__)
def test_a_message_is_read_as_it_was_written(message: Message) -> None:
    assert read(encode_header(message)) == message


def test_the_prefix_has_every_length_before_anything_is_allocated() -> None:
    raw = encode_header(HEADER)
    prefix = parse_prefix(raw[:PREFIX_BYTES], payload_limit=HEADER.payload_bytes)
    assert prefix.header_bytes == len(raw) - PREFIX_BYTES
    assert prefix.payload_bytes == 2 * 64 * 8 * 2


def test_a_payload_over_the_run_s_limit_is_refused_by_its_prefix() -> None:
    with pytest.raises(ProtocolViolation, match="over the limit"):
        parse_prefix(encode_header(HEADER)[:PREFIX_BYTES], payload_limit=HEADER.payload_bytes - 1)


def test_a_header_over_one_kibibyte_is_refused_by_its_prefix() -> None:
    with pytest.raises(ProtocolViolation, match="over the limit"):
        parse_prefix(prefixed(bytes(MAX_HEADER_BYTES + 1))[:PREFIX_BYTES], payload_limit=LIMIT)


@pytest.mark.parametrize(
    ("raw", "why"),
    [
        (prefixed(b"", version=2), "link version 2; this node speaks 1"),
        (prefixed(b"", kind=4), "unknown kind"),
        (prefixed(encode(to_value(HEADER)), payload=1), "1 bytes follow where the header has 2048"),
        (prefixed(encode(()), kind=3, payload=1), "1 bytes follow where the header has 0"),
        (prefixed(encode(("", "")), kind=2), "Bye has 1 fields"),
        (prefixed(b"\xc1"), "not a canonical message"),
        (prefixed(encode(to_value(KEY)), kind=1), "Ack has 3 fields"),
    ],
)
def test_what_no_honest_peer_sends_is_refused_with_the_reason(raw: bytes, why: str) -> None:
    with pytest.raises(ProtocolViolation, match=why):
        read(raw)


def test_a_header_shorter_than_its_prefix_says_is_refused() -> None:
    raw = encode_header(HEADER)
    prefix = parse_prefix(raw[:PREFIX_BYTES], payload_limit=LIMIT)
    with pytest.raises(ProtocolViolation, match="another length"):
        parse_header(prefix, raw[PREFIX_BYTES:-1])


@given(st.binary(max_size=PREFIX_BYTES + 300))
def test_any_bytes_give_a_message_or_a_violation(raw: bytes) -> None:
    try:
        read(raw)
    except ProtocolViolation:
        return


@given(st.sampled_from(MESSAGES), st.data())
def test_a_changed_byte_gives_a_message_with_one_spelling_or_a_violation(message: Message, data: st.DataObject) -> None:
    raw = bytearray(encode_header(message))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        assert encode_header(read(bytes(raw))) == bytes(raw)
    except ProtocolViolation:
        return


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 63) - 1) | st.binary(max_size=64) | st.text(max_size=64),
    lambda inner: st.lists(inner, max_size=9).map(tuple),
    max_leaves=20,
)


@given(st.integers(0, 3), values, st.integers(0, LIMIT))
def test_any_canonical_header_gives_a_message_or_a_violation(kind: int, value: object, payload: int) -> None:
    header = encode(value)  # type: ignore[arg-type]
    try:
        read(prefixed(header, kind=kind, payload=payload) if len(header) < 1 << 16 else b"")
    except ProtocolViolation:
        return


@pytest.mark.parametrize(
    "change",
    [
        {"version": 2},
        {"codec": "pickle"},
        {"dtype": "object"},
        {"shape": ()},
        {"shape": (0,)},
        {"shape": (1, 1, 1, 1, 1)},
        {"root": b"short"},
        {"plan": -1},
        {"weight_version": 1 << 40},
        {"key": dataclasses.replace(KEY, direction=9)},
    ],
)
def test_a_header_that_makes_no_sense_cannot_be_made(change: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        dataclasses.replace(HEADER, **change)


def test_an_acknowledgement_has_a_root_and_a_whole_signature_or_none() -> None:
    for root, signature in ((b"short", b""), (b"\1" * 32, b"\2" * 63)):
        with pytest.raises(ValueError, match="a root has 32 bytes and a signature 64 or none"):
            Ack(KEY, root, signature)


def test_a_farewell_is_short() -> None:
    assert Bye("x" * 200).reason
    with pytest.raises(ValueError, match="at most 200 characters"):
        Bye("x" * 201)


def test_a_prefix_has_eight_bytes() -> None:
    with pytest.raises(ProtocolViolation, match="begins with 8 bytes, not 7"):
        parse_prefix(bytes(7), payload_limit=LIMIT)


def test_a_payload_over_four_gibibytes_has_no_message() -> None:
    huge = dataclasses.replace(HEADER, shape=(1 << 20, 1 << 20))
    with pytest.raises(ValueError, match="do not fit"):
        encode_header(huge)


def test_the_root_of_one_tile_is_its_leaf() -> None:
    payload = bytes(range(256))
    assert tile_root(payload, (64, 1), "float32") == blake3(b"\0" + payload).digest()


def test_the_root_pairs_tiles_of_64_rows_and_lifts_an_odd_one() -> None:
    rows = bytes(range(200)) * 8
    tiles = [blake3(b"\0" + rows[at : at + 512]).digest() for at in (0, 512, 1024)]
    left = blake3(b"\1" + tiles[0] + tiles[1]).digest()
    assert tile_root(rows[:1536], (192, 1), "int64") == blake3(b"\1" + left + tiles[2]).digest()


def test_the_last_tile_may_be_short() -> None:
    payload = bytes(65 * 8)
    left, right = blake3(b"\0" + bytes(512)).digest(), blake3(b"\0" + bytes(8)).digest()
    assert tile_root(payload, (65, 1), "int64") == blake3(b"\1" + left + right).digest()


@given(st.integers(1, 200), st.integers(1, 5), st.data())
def test_a_changed_bit_anywhere_changes_the_root(rows: int, columns: int, data: st.DataObject) -> None:
    payload = bytearray(rows * columns * 2)
    before = tile_root(payload, (rows, columns), "bfloat16")
    payload[data.draw(st.integers(0, len(payload) - 1))] ^= 1
    assert tile_root(payload, (rows, columns), "bfloat16") != before


def test_rows_are_counted_over_all_axes_but_the_last() -> None:
    payload = bytes(2 * 64 * 4 * 4)
    assert tile_root(payload, (2, 64, 4), "float32") == tile_root(payload, (128, 4), "float32")


@pytest.mark.parametrize("columns", [256, 257, 1024])
def test_a_tile_s_leaf_is_the_same_for_every_size_of_tile(columns: int) -> None:
    payload = bytes(range(256)) * columns
    assert tile_root(payload, (64, columns), "float32") == blake3(b"\0").update(payload).digest()
