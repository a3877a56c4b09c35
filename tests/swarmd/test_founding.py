"""Making a network: what a founder chooses becomes its genesis."""

from __future__ import annotations

import pytest

from swarmd.founding import USUAL_SUPPLY, Plan, found_network, parse_grant, parse_peer
from swarmd.identity import identity_of
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ledger.amounts import MICRO
from swarmd.protocols.ledger.genesis import Grant, Limits

PEERS = tuple(sorted(identity_of(bytes([n]) * 32).peer for n in range(1, 6)))
ME = PEERS[2]


def test_the_founder_alone_operates_votes_and_holds_everything():
    genesis = found_network(ME, Plan(name="home")).genesis
    assert (genesis.operator, [member.peer for member in genesis.committee]) == (ME, [ME])
    assert genesis.grants == (Grant(ME, USUAL_SUPPLY),)


def test_the_founder_holds_what_is_not_granted():
    plan = Plan(name="home", supply=100 * MICRO, grants=(Grant(PEERS[0], 30 * MICRO), Grant(PEERS[0], 10 * MICRO)))
    genesis = found_network(ME, plan).genesis
    assert genesis.supply == 100 * MICRO
    assert (genesis.granted(PEERS[0]), genesis.granted(ME)) == (40 * MICRO, 60 * MICRO)


def test_who_grants_all_holds_nothing():
    genesis = found_network(ME, Plan(name="home", supply=MICRO, grants=(Grant(PEERS[0], MICRO),))).genesis
    assert genesis.grants == (Grant(PEERS[0], MICRO),)


def test_the_committee_is_the_founder_and_the_members_with_equal_weights():
    genesis = found_network(ME, Plan(name="home", members=(PEERS[4], PEERS[0], ME))).genesis
    assert [(member.peer, member.weight) for member in genesis.committee] == [(PEERS[0], 1), (ME, 1), (PEERS[4], 1)]


def test_two_networks_of_one_name_have_nothing_in_common():
    one, two = found_network(ME, Plan(name="home")), found_network(ME, Plan(name="home"))
    assert one.id != two.id
    assert one.psk != two.psk


def test_an_open_network_has_no_shared_key():
    assert found_network(ME, Plan(name="home", open=True)).psk is None


def test_limits_are_part_of_the_genesis():
    limits = Limits(cooldown_seconds=5, grace_seconds=7)
    assert found_network(ME, Plan(name="home", limits=limits)).genesis.limits == limits


@pytest.mark.parametrize("name", ["", "x" * 33, "with space", "É"])
def test_a_name_that_cannot_be_is_refused(name):
    with pytest.raises(UsageError, match="a network's name is"):
        found_network(ME, Plan(name=name))


def test_more_grants_than_supply_are_refused():
    with pytest.raises(UsageError, match=r"grants of 2 credits are more than the supply of 1\b"):
        found_network(ME, Plan(name="home", supply=MICRO, grants=(Grant(PEERS[0], 2 * MICRO),)))


def test_a_grant_is_typed_as_peer_and_credits():
    assert parse_grant(f"{ME}=0.5") == Grant(ME, MICRO // 2)


@pytest.mark.parametrize("text", ["", ME, f"{ME}=", f"{ME}=0", f"{ME}=-1", f"{ME}=1.2345678", "peer=1", "=1"])
def test_a_grant_that_cannot_be_is_refused(text):
    with pytest.raises(UsageError) as caught:
        parse_grant(text)
    assert caught.value.hint


@pytest.mark.parametrize("text", ["", "x" * 100, ME[:-1], ME + "l"])
def test_what_is_no_peer_id_is_refused(text):
    with pytest.raises(UsageError, match="is not a peer id"):
        parse_peer(text)
