"""Adverts: believed for a signature, while they last, and only if an honest peer could have issued them."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.advert import (
    ADVERT_TAG,
    CLOCK_SKEW,
    MAX_ADVERT_BYTES,
    MAX_LIFETIME,
    BadAdvert,
    advert_key,
    record_check,
    sign_advert,
    verify_advert,
)
from swarmd.protocols.errors import ProtocolViolation, by_code
from swarmd.protocols.records import to_value
from swarmd.protocols.signing import Signed, parse_signed, sign
from tests.protocols.keys import DEVICE, NETWORK, NOW, OTHER_NETWORK, advert, signed, who

ANNA, BERT = who(1), who(2)


def refusal(raw: bytes, now: float = NOW, owner=None) -> str:
    """Why an advert is refused."""
    with pytest.raises(BadAdvert) as caught:
        verify_advert(raw, NETWORK, now, owner)
    return caught.value.reason


def test_an_advert_says_who_signed_it():
    raw = signed(ANNA, addresses=("/ip4/192.0.2.7/tcp/4001",), price=7)
    known = verify_advert(raw, NETWORK, NOW, ANNA.peer)
    assert (known.peer, known.raw) == (ANNA.peer, raw)
    assert known.advert == advert(addresses=("/ip4/192.0.2.7/tcp/4001",), price=7)


def test_a_forged_advert_is_refused():
    raw = signed(ANNA)
    statement = parse_signed(raw, limit=MAX_ADVERT_BYTES)
    assert refusal(signed(ANNA, OTHER_NETWORK)) == "forged"
    assert refusal(raw, owner=BERT.peer) == "forged"
    assert refusal(Signed(BERT.peer, statement.body, statement.signature).to_bytes()) == "forged"
    assert refusal(Signed(ANNA.peer, statement.body, bytes(64)).to_bytes()) == "forged"
    other_purpose = sign("swarmd/plan/1", NETWORK, ANNA.peer, ANNA.sign, to_value(advert()))
    assert refusal(other_purpose.to_bytes()) == "forged"


def test_an_advert_lasts_from_its_issue_to_its_expiry():
    raw = signed(ANNA)
    assert verify_advert(raw, NETWORK, NOW - CLOCK_SKEW)
    assert refusal(raw, NOW - CLOCK_SKEW - 1) == "early"
    assert verify_advert(raw, NETWORK, NOW + 3599.9)
    assert refusal(raw, NOW + 3600) == "expired"


def test_an_oversized_advert_is_refused_unread():
    assert refusal(bytes(MAX_ADVERT_BYTES + 1)) == "oversized"


def test_an_oversized_advert_is_not_signed(monkeypatch):
    monkeypatch.setattr("swarmd.protocols.advert.MAX_ADVERT_BYTES", 100)
    with pytest.raises(ValueError, match="over the limit of 100"):
        signed(ANNA)


def test_the_largest_honest_advert_fits():
    device = replace(DEVICE, name="n" * 96, numerics="c" * 256)
    address = "/dns/" + ".".join(["a" * 58] * 3) + "/tcp/65535"
    assert len(signed(ANNA, name="\N{SNOWMAN}" * 64, version="v" * 32, device=device, addresses=(address,) * 8))


@pytest.mark.parametrize(
    "body",
    [
        (),
        to_value(advert())[:-1],  # type: ignore[index]
        (*to_value(advert()), 1),  # type: ignore[misc]
        ("1", *to_value(advert())[1:]),  # type: ignore[index]
    ],
)
def test_a_signed_body_of_another_shape_is_malformed(body):
    assert refusal(sign(ADVERT_TAG, NETWORK, ANNA.peer, ANNA.sign, body).to_bytes()) == "malformed"


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "x" * 65},
        {"name": "two\nlines"},
        {"name": " padded"},
        {"name": "\x1b[31mred"},
        {"name": "\u202egnirts"},
        {"version": ""},
        {"sequence": -1},
        {"issued_at": -1, "expires_at": 0},
        {"expires_at": NOW - 1},
        {"expires_at": NOW + MAX_LIFETIME + 1},
        {"up_bits": -1},
        {"down_bits": 1 << 61},
        {"price": -1},
        {"accepts": "everybody"},
        {"max_stages": 1025},
        {"max_stages": 1, "free_stages": 2},
        {"tensor_port": 65536},
        {"addresses": ("/ip4/192.0.2.7/tcp/4001",) * 9},
        {"addresses": ("/ip4/192.0.2.7/udp/4001",)},
    ],
    ids=str,
)
def test_no_honest_peer_says_such_things(changes):
    with pytest.raises(ValueError, match=r"."):
        advert(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"kind": "abacus"},
        {"name": ""},
        {"numerics": "x" * 257},
        {"memory_bytes": -1},
        {"flops": -1},
        {"threads": 0},
        {"threads": 4097},
    ],
    ids=str,
)
def test_no_such_device_exists(changes):
    with pytest.raises(ValueError, match=r"."):
        replace(DEVICE, **changes)


@given(st.binary(max_size=300))
def test_random_bytes_are_malformed(raw: bytes):
    assert refusal(raw) == "malformed"


@given(st.integers(0, 600), st.binary(min_size=1, max_size=8))
def test_damage_anywhere_is_refused(at: int, noise: bytes):
    raw = signed(ANNA)
    damaged = raw[:at] + noise + raw[at + len(noise) :]
    if damaged != raw:
        assert refusal(damaged) in ("malformed", "forged")


@given(st.binary(max_size=200))
def test_random_bodies_properly_signed_raise_nothing_else(body: bytes):
    message = sign(ADVERT_TAG, NETWORK, ANNA.peer, ANNA.sign, body).to_bytes()
    assert refusal(message) == "malformed"


def test_a_bad_advert_is_a_protocol_violation_on_the_wire_too():
    error = BadAdvert("forged", "x")
    assert type(by_code(error.code, error.message)) is ProtocolViolation


def test_only_the_peer_in_the_key_can_write_there():
    check = record_check(NETWORK, lambda: NOW)
    assert check(advert_key(ANNA.peer), signed(ANNA, sequence=9)) == 9
    with pytest.raises(BadAdvert, match="forged"):
        check(advert_key(ANNA.peer), signed(BERT, sequence=10))
    with pytest.raises(BadAdvert, match="expired"):
        record_check(NETWORK, lambda: NOW + 3600)(advert_key(ANNA.peer), signed(ANNA))


@pytest.mark.parametrize("key", ["", "/swarmd/", "/pk/x", "/swarmd/x/y", str(ANNA.peer)])
def test_other_keys_are_refused(key):
    with pytest.raises(ProtocolViolation):
        record_check(NETWORK, lambda: NOW)(key, signed(ANNA))


def test_signing_again_gives_the_same_bytes():
    assert sign_advert(advert(), NETWORK, ANNA.peer, ANNA.sign) == signed(ANNA)
