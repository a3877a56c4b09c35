"""What the control socket says of the network: an invite, the committee, and a change of it by the operator."""

from __future__ import annotations

import pytest

from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of
from swarmd.invite import parse_invite
from swarmd.ledger.network_methods import INVITE_CONTACTS, NetworkMethods, worth_inviting_to
from swarmd.network import MAIN
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ledger.committee import Committee, first_committee
from swarmd.protocols.ledger.genesis import Member

PEERS = tuple(sorted(identity_of(bytes([n]) * 32).peer for n in range(1, 6)))
ME = PEERS[0]
HOME = found_network(ME, Plan(name="home", members=PEERS[1:3]))


class Ledger:
    """Stands where the ledger does; changes happen at once."""

    def __init__(self, network) -> None:
        self.committee = first_committee(network.genesis)

    async def change(self, members):
        self.committee = Committee(self.committee.number + 1, members)
        return self.committee


def methods(network=HOME, me=ME, addresses=("/ip4/192.0.2.7/tcp/4801",)):
    ledger = Ledger(network)
    return NetworkMethods(
        network=network,
        me=me,
        addresses=lambda: addresses,
        committee=lambda: ledger.committee,
        change=ledger.change,
    ).table()


async def test_an_invite_leads_to_this_node():
    found = await methods()["invite"]({})
    network = parse_invite(found["invite"])
    assert (network, network.contacts) == (HOME, (f"/ip4/192.0.2.7/tcp/4801/p2p/{ME}",))
    assert found["contacts"] == list(network.contacts)
    assert (found["network"], found["name"], found["private"]) == (HOME.id, "home", True)


async def test_the_main_network_has_invites_and_no_committee():
    table = methods(MAIN)
    assert parse_invite((await table["invite"]({}))["invite"]) == MAIN
    found = await table["committee"]({})
    assert (found["members"], found["weight"], found["quorum"], found["operator"]) == ([], 0, 0, None)
    with pytest.raises(UsageError, match="no credits"):
        await table["committee_set"]({"members": [[ME, 1]]})


def test_loopback_is_named_only_where_there_is_nothing_else():
    loopback, home, v6 = "/ip4/127.0.0.1/tcp/1", "/ip4/192.168.1.7/tcp/1", "/ip6/::1/tcp/1"
    assert worth_inviting_to((loopback, v6, home, "/ip4/0.0.0.0/tcp/1")) == (home,)
    assert worth_inviting_to((loopback, v6)) == (loopback, v6)
    assert worth_inviting_to(("/dns4/attic.example/tcp/1", loopback)) == ("/dns4/attic.example/tcp/1",)
    assert len(worth_inviting_to(tuple(f"/ip4/192.0.2.{n}/tcp/1" for n in range(1, 40)))) == INVITE_CONTACTS


async def test_the_committee_is_told_with_its_quorum():
    assert await methods()["committee"]({}) == {
        "number": 0,
        "members": [[peer, 1] for peer in PEERS[:3]],
        "weight": 3,
        "quorum": 3,
        "operator": ME,
        "us": ME,
    }


async def test_the_operator_names_the_next_committee_in_any_order():
    table = methods()
    found = await table["committee_set"]({"members": [[peer, 2] for peer in reversed(PEERS)]})
    assert (found["number"], found["members"]) == (1, [[peer, 2] for peer in PEERS])
    assert await table["committee"]({}) == found


async def test_nobody_else_does():
    with pytest.raises(UsageError, match="only the network's operator") as caught:
        await methods(me=PEERS[1])["committee_set"]({"members": [[ME, 1]]})
    assert ME in caught.value.hint


@pytest.mark.parametrize(
    "members",
    [
        None,
        [],
        "text",
        ["text"],
        [[ME]],
        [[ME, "1"]],
        [[ME, True]],
        [[ME, 0]],
        [[ME, 1 << 41]],
        [["nobody", 1]],
        [[ME, 1], [ME, 1]],
        [[ME, 2], *([peer, 1] for peer in PEERS[1:])],
        [[ME, 1]] * 65,
    ],
)
async def test_a_committee_that_cannot_be_is_refused(members):
    with pytest.raises(UsageError) as caught:
        await methods()["committee_set"]({"members": members})
    assert caught.value.hint


def test_members_are_those_of_the_genesis():
    assert first_committee(HOME.genesis).members == tuple(Member(peer, 1) for peer in PEERS[:3])


async def test_a_member_that_is_named_twice_is_said_to_be():
    with pytest.raises(UsageError, match=f"the peer {ME} is named twice"):
        await methods()["committee_set"]({"members": [[ME, 1], [ME, 2]]})
