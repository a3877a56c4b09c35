"""Signed statements: a signature holds for one purpose, one network and exactly these bytes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.protocols.signing import Signed, parse_signed, sign, verify
from tests.protocols.keys import NETWORK, OTHER_NETWORK, who

ANNA, BERT = who(1), who(2)
STATEMENT = sign("test/1", NETWORK, ANNA.peer, ANNA.sign, ("hello", 1))


def test_a_statement_survives_the_wire_and_verifies():
    read = parse_signed(STATEMENT.to_bytes(), limit=500)
    assert read == STATEMENT
    assert verify("test/1", NETWORK, read, limit=500) == ("hello", 1)


@pytest.mark.parametrize(
    ("tag", "network", "statement"),
    [
        ("test/2", NETWORK, STATEMENT),
        ("test/1", OTHER_NETWORK, STATEMENT),
        ("test/1", NETWORK, Signed(BERT.peer, STATEMENT.body, STATEMENT.signature)),
        ("test/1", NETWORK, Signed(ANNA.peer, encode(("hello", 2)), STATEMENT.signature)),
        ("test/1", NETWORK, Signed(ANNA.peer, STATEMENT.body, bytes(64))),
        ("test/1", NETWORK, Signed(PeerId("nobody"), STATEMENT.body, STATEMENT.signature)),
    ],
    ids=["purpose", "network", "signer", "body", "signature", "not a peer"],
)
def test_a_signature_moved_elsewhere_does_not_hold(tag, network, statement):
    with pytest.raises(ProtocolViolation):
        verify(tag, network, statement, limit=500)


def test_a_signed_body_must_be_canonical_too():
    body = b"\xcc\x05"
    forged = Signed(ANNA.peer, body, ANNA.sign(encode(("test/1", NETWORK, body))))
    with pytest.raises(ProtocolViolation, match="not a canonical message"):
        verify("test/1", NETWORK, forged, limit=500)


@pytest.mark.parametrize("value", [(), ("a", b"b"), ("a", b"b", bytes(63)), (b"a", b"b", bytes(64)), "a"])
def test_other_shapes_are_not_statements(value):
    with pytest.raises(ProtocolViolation, match="not a signed statement"):
        parse_signed(encode(value), limit=500)


@given(st.binary(max_size=200), st.integers(0, 250))
def test_damaged_statements_raise_nothing_else(noise: bytes, at: int):
    raw = STATEMENT.to_bytes()
    damaged = raw[:at] + noise + raw[at + len(noise) :]
    try:
        body = verify("test/1", NETWORK, parse_signed(damaged, limit=500), limit=500)
    except ProtocolViolation:
        return
    assert body == ("hello", 1)
