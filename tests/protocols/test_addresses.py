"""Multiaddresses: which are worth dialling, and what a user may type."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.addresses import Contact, is_dialable, merged, parse_contact
from swarmd.protocols.errors import UsageError
from tests.protocols.keys import who

PEER = who(1).peer


@pytest.mark.parametrize(
    "address",
    [
        "/ip4/192.0.2.7/tcp/4001",
        "/ip4/127.0.0.1/tcp/1",
        "/ip6/2001:db8::1/tcp/65535",
        "/dns/node.example.org/tcp/4001",
        "/dns4/localhost/tcp/4001",
        f"/memory/{PEER}",
    ],
)
def test_addresses_of_one_host_and_port_can_be_dialled(address):
    assert is_dialable(address)


@pytest.mark.parametrize(
    "address",
    [
        "",
        "192.0.2.7:4001",
        "/ip4/192.0.2.7/tcp/0",
        "/ip4/192.0.2.7/tcp/65536",
        "/ip4/192.0.2.7/udp/4001",
        "/ip4/192.0.2.7/tcp/4001/p2p/x",
        "/ip4/192.0.2.7/tcp/4001\n",
        "/ip4/192.0.2.300/tcp/4001",
        "/ip4/0.0.0.0/tcp/4001",
        "/ip4/239.1.2.3/tcp/4001",
        "/ip4/::1/tcp/4001",
        "/ip6/127.0.0.1/tcp/4001",
        "/ip6/::/tcp/4001",
        "/dns/-bad-/tcp/4001",
        "/dns/a..b/tcp/4001",
        "/dns/" + "a" * 64 + "/tcp/1",
        "/dns/" + "a." * 120 + "b/tcp/1",
        "/memory/",
    ],
)
def test_others_cannot(address):
    assert not is_dialable(address)


@given(st.text(max_size=80))
def test_any_text_has_an_answer(text: str):
    assert is_dialable(text) in (True, False)


def test_a_contact_is_read_as_status_prints_it():
    assert parse_contact(f" /ip4/192.0.2.7/tcp/4001/p2p/{PEER}\n") == Contact(PEER, ("/ip4/192.0.2.7/tcp/4001",))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("192.0.2.7", "does not end in /p2p/"),
        ("/ip4/192.0.2.7/tcp/4001", "does not end in /p2p/"),
        ("/ip4/192.0.2.7/tcp/4001/p2p/Qm", "not the peer id"),
        (f"/ip4/192.0.2.7/udp/4001/p2p/{PEER}", "cannot be dialled"),
    ],
)
def test_a_wrong_contact_says_what_is_wrong_and_what_would_be_right(text, why):
    with pytest.raises(UsageError, match=why) as caught:
        parse_contact(text)
    assert "/p2p/12D3" in caught.value.hint


def test_contacts_of_one_peer_become_one():
    other = who(2).peer
    contacts = (Contact(PEER, ("a", "b")), Contact(other, ("c",)), Contact(PEER, ("b", "d")))
    assert merged(contacts) == (Contact(PEER, ("a", "b", "d")), Contact(other, ("c",)))
