"""An invite is one line that carries a whole network; anything else is refused in one clear message."""

from __future__ import annotations

import base64
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of
from swarmd.invite import CHECK_BYTES, MAX_INVITE_CHARS, PREFIX, _check, invite_of, parse_invite
from swarmd.network import MAIN, MAX_CONTACTS
from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ledger.genesis import MAX_GRANTS, Grant

ME = identity_of(bytes(32)).peer
CONTACTS = tuple(f"/ip4/192.0.2.{n}/tcp/4801/p2p/{ME}" for n in range(1, 4))
HOME = replace(found_network(ME, Plan(name="home")), contacts=CONTACTS)
INVITE = invite_of(HOME)


def packed(value) -> str:
    """An invite of anything, with the right checksum."""
    raw = encode(value)
    return PREFIX + base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")


def test_an_invite_carries_the_whole_network():
    found = parse_invite(INVITE)
    assert (found, found.genesis, found.psk, found.contacts) == (HOME, HOME.genesis, HOME.psk, CONTACTS)


def test_an_invite_to_an_open_network_holds_no_key():
    assert parse_invite(invite_of(MAIN)) == MAIN


def test_an_invite_is_one_line_that_a_shell_leaves_alone():
    assert INVITE.startswith(PREFIX)
    assert INVITE.replace("-", "").replace("_", "").isalnum()
    assert len(INVITE) < 800


def test_space_around_it_does_not_matter():
    assert parse_invite(f"  {INVITE}\n") == HOME


def test_the_largest_network_fits():
    peers = sorted(identity_of(n.to_bytes(32, "big")).peer for n in range(1, MAX_GRANTS + 1))
    genesis = found_network(ME, Plan(name="home", grants=tuple(Grant(peer, 1) for peer in peers[1:]))).genesis
    largest = replace(HOME, genesis=genesis, contacts=CONTACTS[:1] * MAX_CONTACTS)
    assert len(invite_of(largest)) < MAX_INVITE_CHARS
    assert parse_invite(invite_of(largest)) == largest


@pytest.mark.parametrize("text", ["", "hello", "swarmd", "swarmd1", "swarmdx-abc", "12D3KooW", "/etc/passwd"])
def test_what_does_not_begin_as_an_invite_is_none(text):
    with pytest.raises(UsageError, match="this is not an invite") as caught:
        parse_invite(text)
    assert PREFIX in caught.value.hint


def test_an_invite_of_another_version_says_so():
    with pytest.raises(UsageError, match="of version 2, and this swarmd reads version 1"):
        parse_invite(INVITE.replace(PREFIX, "swarmd2-"))


@pytest.mark.parametrize("at", [len(PREFIX), len(INVITE) // 2, len(INVITE) - 1])
def test_a_wrong_letter_is_found(at):
    with pytest.raises(UsageError, match="this invite is damaged"):
        parse_invite(INVITE[:at] + ("a" if INVITE[at] != "a" else "b") + INVITE[at + 1 :])


@pytest.mark.parametrize("cut", [1, 2, 3, 4, 50, len(INVITE) - len(PREFIX)])
def test_a_missing_end_is_found(cut):
    with pytest.raises(UsageError, match="this invite is damaged"):
        parse_invite(INVITE[:-cut])


@pytest.mark.parametrize(
    "value",
    [
        None,
        (),
        (HOME.genesis.to_bytes(), HOME.psk),
        ("text", HOME.psk, CONTACTS),
        (b"no genesis", HOME.psk, CONTACTS),
        (HOME.genesis.to_bytes(), b"short", CONTACTS),
        (HOME.genesis.to_bytes(), "text", CONTACTS),
        (HOME.genesis.to_bytes(), HOME.psk, None),
        (HOME.genesis.to_bytes(), HOME.psk, ("nowhere",)),
        (HOME.genesis.to_bytes(), HOME.psk, (7,)),
        (HOME.genesis.to_bytes(), HOME.psk, CONTACTS[:1] * (MAX_CONTACTS + 1)),
    ],
)
def test_a_well_packed_invite_to_nothing_is_refused(value):
    with pytest.raises(UsageError, match="this invite is damaged"):
        parse_invite(packed(value))


def test_an_error_never_repeats_the_key():
    with pytest.raises(UsageError) as caught:
        parse_invite(INVITE[:-1])
    assert INVITE[20:60] not in caught.value.message + caught.value.hint


def test_an_endless_invite_is_refused_at_once():
    with pytest.raises(UsageError, match="too long"):
        parse_invite(PREFIX + "A" * (MAX_INVITE_CHARS + 1))


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(UsageError):
        parse_invite(PREFIX + text)


@given(st.binary(max_size=400))
def test_any_bytes_with_a_right_checksum_are_read_or_refused(raw):
    letters = base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")
    with pytest.raises(UsageError):
        parse_invite(PREFIX + letters)


@given(st.data())
def test_any_change_to_the_content_gives_another_network_or_a_refusal(data):
    whole = base64.urlsafe_b64decode(INVITE[len(PREFIX) :] + "=" * (-len(INVITE[len(PREFIX) :]) % 4))
    raw = bytearray(whole[:-CHECK_BYTES])
    at = data.draw(st.integers(0, len(raw) - 1))
    raw[at] ^= data.draw(st.integers(1, 255))
    changed = base64.urlsafe_b64encode(bytes(raw) + _check(bytes(raw))).decode().rstrip("=")
    try:
        found = parse_invite(PREFIX + changed)
    except UsageError:
        return
    assert (found.id, found.psk, found.contacts) != (HOME.id, HOME.psk, HOME.contacts)
