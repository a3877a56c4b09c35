"""The registry: only what was registered is ever constructed."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.registry import Registry


@dataclass(frozen=True, slots=True)
class Ping:
    number: int


@dataclass(frozen=True, slots=True)
class Pong:
    text: str


MESSAGES = Registry(Ping, Pong)


@pytest.mark.parametrize("message", [Ping(1), Pong("x")])
def test_a_message_survives(message):
    assert MESSAGES.decode(MESSAGES.encode(message)) == message


def test_the_wire_form_is_a_name_and_a_record():
    assert MESSAGES.encode(Ping(7)) == encode(("Ping", (7,)))


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (("Pang", (1,)), "no message of this protocol is named 'Pang'"),
        (("Ping", ("1",)), "another type"),
        (("Ping", (1, 2)), "1 fields"),
        ("Ping", "neither a name nor a record"),
        ((1, (1,)), "neither a name nor a record"),
        (("Ping",), "neither a name nor a record"),
    ],
)
def test_anything_else_is_refused_with_the_reason(value, words):
    with pytest.raises(ProtocolViolation, match=words):
        MESSAGES.decode(encode(value))


def test_the_limit_holds():
    with pytest.raises(ProtocolViolation, match="over the limit"):
        MESSAGES.decode(MESSAGES.encode(Pong("x" * 100)), limit=50)


def test_only_registered_types_are_sent():
    with pytest.raises(TypeError, match="not a message"):
        Registry(Ping).encode(Pong("x"))
    other = dataclass(frozen=True)(type("Ping", (), {"__annotations__": {"number": int}}))
    with pytest.raises(TypeError, match="not a message"):
        MESSAGES.encode(other(1))


def test_two_types_of_one_name_cannot_be_told_apart():
    with pytest.raises(ValueError, match="share a name"):
        Registry(Ping, Ping)


@given(st.binary(max_size=60))
def test_random_bytes_raise_nothing_else(raw: bytes):
    try:
        message = MESSAGES.decode(raw)
    except ProtocolViolation:
        return
    assert MESSAGES.encode(message) == raw
