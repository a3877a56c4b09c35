"""Discovery on the local network: what is believed of an answer, and two nodes on loopback."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from swarmd.net.mdns import Announcement, announcement_of, contact_of, run_mdns
from swarmd.protocols.addresses import Contact
from tests.protocols.keys import NETWORK, OTHER_NETWORK, who

ANNA, BERT = who(1), who(2)
OURS = Announcement(peer=ANNA.peer, network=NETWORK, port=4001, hosts=("127.0.0.1",))
GOOD = {b"peer": BERT.peer.encode(), b"network": NETWORK.encode(), b"port": b"4002"}


def test_a_node_of_our_network_is_a_contact():
    assert contact_of(GOOD, 4002, ["192.0.2.7", "fe80::1"], OURS) == Contact(
        BERT.peer, ("/ip4/192.0.2.7/tcp/4002", "/ip6/fe80::1/tcp/4002")
    )


@pytest.mark.parametrize(
    ("changes", "port", "hosts"),
    [
        ({b"network": OTHER_NETWORK.encode()}, 4002, ["192.0.2.7"]),
        ({b"network": None}, 4002, ["192.0.2.7"]),
        ({b"peer": ANNA.peer.encode()}, 4002, ["192.0.2.7"]),
        ({b"peer": b"nobody"}, 4002, ["192.0.2.7"]),
        ({b"peer": b"\xff"}, 4002, ["192.0.2.7"]),
        ({b"peer": None}, 4002, ["192.0.2.7"]),
        ({}, None, ["192.0.2.7"]),
        ({}, 0, ["192.0.2.7"]),
        ({}, 4002, []),
        ({}, 4002, ["0.0.0.0", "a/b", ""]),
    ],
)
def test_others_are_not(changes, port, hosts):
    assert contact_of({**GOOD, **changes}, port, hosts, OURS) is None


@given(
    st.dictionaries(st.sampled_from([b"peer", b"network", b"x"]), st.none() | st.binary(max_size=60)),
    st.none() | st.integers(0, 70_000),
    st.lists(st.text(max_size=20), max_size=4),
)
def test_any_answer_has_a_meaning_or_none(properties, port, hosts):
    assert contact_of({b"network": NETWORK.encode(), **properties}, port, hosts, OURS) is None


def test_an_advert_names_the_hosts_of_the_first_port():
    addresses = (
        "/dns/example.org/tcp/4001",
        "/ip4/192.0.2.7/tcp/4001",
        "/ip6/::1/tcp/4001",
        "/ip4/192.0.2.8/tcp/4009",
        "/ip4/0.0.0.0/tcp/4001",
    )
    assert announcement_of(ANNA.peer, NETWORK, addresses) == Announcement(
        peer=ANNA.peer, network=NETWORK, port=4001, hosts=("192.0.2.7", "::1")
    )


def test_without_an_ip_address_there_is_nothing_to_announce():
    assert announcement_of(ANNA.peer, NETWORK, ("/memory/x",)) is None


async def test_a_node_without_multicast_says_so_once_and_goes_on(monkeypatch, caplog):
    def refuse(*args, **options):
        raise OSError("no multicast here")

    monkeypatch.setattr("zeroconf.Zeroconf", refuse)
    with trio.fail_after(30), caplog.at_level(logging.WARNING):
        await run_mdns(OURS, lambda contact: None)
    assert [record.message for record in caplog.records] == ["no discovery on the local network: no multicast here"]


async def test_a_service_that_cannot_be_registered_leaves_nothing_behind(monkeypatch, caplog):
    from zeroconf import NonUniqueNameException

    closed = []

    class Broken:
        def __init__(self, *args, **options) -> None: ...

        def register_service(self, *args, **options) -> None:
            raise NonUniqueNameException

        def close(self) -> None:
            closed.append(True)
            raise OSError("the network is gone")

    monkeypatch.setattr("zeroconf.Zeroconf", Broken)
    with trio.fail_after(30), caplog.at_level(logging.WARNING):
        await run_mdns(OURS, lambda contact: None)
    assert "NonUniqueName" in caplog.text
    assert closed == [True]


@pytest.mark.net
@pytest.mark.slow
async def test_two_nodes_on_loopback_find_each_other_and_end_cleanly():
    theirs = Announcement(peer=BERT.peer, network=NETWORK, port=4002, hosts=("127.0.0.1",))
    other = Announcement(peer=who(3).peer, network=OTHER_NETWORK, port=4003, hosts=("127.0.0.1",))
    found: dict[str, set[Contact]] = {"anna": set(), "bert": set()}
    both = trio.Event()

    def note(name: str, contact: Contact) -> None:
        found[name].add(contact)
        if all(found.values()):
            both.set()

    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(run_mdns, other, lambda contact: None, ("127.0.0.1",))
            nursery.start_soon(run_mdns, OURS, lambda contact: note("anna", contact), ("127.0.0.1",))
            nursery.start_soon(run_mdns, theirs, lambda contact: note("bert", contact), ("127.0.0.1",))
            await both.wait()
            nursery.cancel_scope.cancel()
    assert found == {
        "anna": {Contact(BERT.peer, ("/ip4/127.0.0.1/tcp/4002",))},
        "bert": {Contact(ANNA.peer, ("/ip4/127.0.0.1/tcp/4001",))},
    }


@pytest.mark.slow
def test_a_node_that_does_without_costs_no_memory_for_it():
    loaded = "import sys, swarmd.net.mdns; sys.exit('zeroconf' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", loaded], check=False, timeout=60).returncode == 0
