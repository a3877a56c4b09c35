"""Length-prefixed messages: cut anywhere, they come out whole and in order."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.framing import FrameReader, frame, payload_length


def test_a_frame_is_its_length_and_its_bytes():
    assert frame(b"abc") == b"\0\0\0\3abc"
    assert payload_length(b"\0\0\0\3") == 3


@given(st.lists(st.binary(max_size=50), max_size=10), st.data())
def test_messages_come_out_however_the_stream_is_cut(payloads: list[bytes], data: st.DataObject):
    stream = b"".join(map(frame, payloads))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=20)))
    reader = FrameReader(50)
    got = [
        payload
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for payload in reader.feed(stream[start:end])
    ]
    assert got == payloads
    assert reader.between_messages


def test_two_messages_and_a_half_in_one_feed_are_two_messages():
    reader = FrameReader()
    assert reader.feed(frame(b"a") + frame(b"bc") + frame(b"def")[:5]) == [b"a", b"bc"]
    assert reader.feed(b"ef") == [b"def"]
    assert reader.between_messages


def test_a_stream_that_ends_inside_a_message_can_be_told():
    reader = FrameReader()
    assert reader.feed(frame(b"abc")[:-1]) == []
    assert not reader.between_messages


def test_a_length_over_the_limit_is_refused_before_its_bytes_come():
    with pytest.raises(ProtocolViolation, match="over the limit of 10"):
        FrameReader(10).feed(b"\0\0\0\x0b")
    with pytest.raises(ValueError, match="over the limit of 10"):
        frame(bytes(11), 10)


@given(st.lists(st.binary(max_size=30), max_size=10))
def test_random_bytes_raise_nothing_else_and_nothing_piles_up(pieces: list[bytes]):
    reader = FrameReader(20)
    try:
        got = [payload for piece in pieces for payload in reader.feed(piece)]
    except ProtocolViolation:
        return
    assert all(len(payload) <= 20 for payload in got)
    assert sum(len(payload) + 4 for payload in got) > sum(map(len, pieces)) - 24
