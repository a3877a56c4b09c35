"""Ids: how each is derived, and that each has one spelling."""

from __future__ import annotations

import base58
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import (
    NetworkId,
    PeerId,
    SpecId,
    is_hash,
    peer_id_of,
    public_key_of,
    run_id_of,
    short,
    tagged_hash,
)

NETWORK = NetworkId("aa" * 32)
SPEC = SpecId("bb" * 32)
PEER = peer_id_of(bytes(range(32)))


@given(st.binary(min_size=32, max_size=32))
def test_the_key_can_be_read_back_out_of_a_peer_id(key: bytes):
    assert public_key_of(peer_id_of(key)) == key
    assert peer_id_of(key).startswith("12D3KooW")


@given(st.text(max_size=70))
def test_any_other_text_is_not_a_peer_id(text: str):
    with pytest.raises(ProtocolViolation):
        public_key_of(PeerId(text))


@pytest.mark.parametrize(
    "text",
    [
        PEER + " ",
        PEER + "\n",
        " " + PEER,
        "1" + PEER,
        PEER[:-1],
        PEER * 2,
        "QmYyQSo1c1Ym7orWxLYvCrM2EmxFTANf8wXmmE7DWjhx5N",
        base58.b58encode(b"\x00\x24\x08\x02\x12\x20" + bytes(32)).decode(),
    ],
)
def test_a_second_spelling_or_another_kind_of_key_is_refused(text: str):
    with pytest.raises(ProtocolViolation):
        public_key_of(PeerId(text))


def test_a_key_of_another_length_has_no_peer_id():
    with pytest.raises(ValueError, match="32 bytes"):
        peer_id_of(bytes(31))


def test_hashes_for_different_purposes_differ():
    assert tagged_hash("a", (1,)) != tagged_hash("b", (1,))
    assert is_hash(tagged_hash("a", (1,)))


@pytest.mark.parametrize("text", ["", "ab" * 31, "AB" * 32, "ab" * 32 + "\n", "zz" * 32])
def test_other_forms_are_not_hashes(text: str):
    assert not is_hash(text)


def test_a_run_is_named_by_network_spec_submitter_and_nonce():
    run = run_id_of(NETWORK, SPEC, PEER, b"n")
    assert is_hash(run)
    others = {
        run_id_of(NetworkId("ab" * 32), SPEC, PEER, b"n"),
        run_id_of(NETWORK, SpecId("ab" * 32), PEER, b"n"),
        run_id_of(NETWORK, SPEC, peer_id_of(bytes(32)), b"n"),
        run_id_of(NETWORK, SPEC, PEER, b"m"),
    }
    assert len(others | {run}) == 5


def test_short_spellings():
    assert short("ab" * 32) == "abababab"
    assert short(PEER) == PEER[-8:]
