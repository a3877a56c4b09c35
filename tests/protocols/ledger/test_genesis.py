"""The genesis: who holds the first credits, and who votes first; nobody with over a quarter of the votes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.canonical import encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import MAX_AMOUNT
from swarmd.protocols.ledger.committee import Committee
from swarmd.protocols.ledger.genesis import MAX_MEMBERS, SCHEMA, Genesis, Grant, Limits, Member, parse_genesis
from tests.protocols.keys import who
from tests.protocols.ledger.world import OPERATOR, genesis_of, members

ANN, BEN = who(100), who(101)
GOOD = genesis_of((ANN, BEN), members(1, 2, 3, 4))


def test_a_genesis_survives_its_bytes_and_is_named_by_them():
    assert parse_genesis(GOOD.to_bytes()) == GOOD
    assert GOOD.id != replace(GOOD, salt=b"another").id
    assert (GOOD.supply, GOOD.granted(ANN.peer), GOOD.granted(who(5).peer)) == (200_000_000, 100_000_000, 0)


def test_a_network_without_a_committee_has_no_credits():
    free = Genesis(name="home", salt=b"")
    assert (free.supply, parse_genesis(free.to_bytes())) == (0, free)


@pytest.mark.parametrize("raw", [encode((SCHEMA + 1, "home")), encode(7), encode((SCHEMA, "home")), b""])
def test_a_genesis_of_another_schema_or_form_is_refused(raw):
    with pytest.raises(ProtocolViolation):
        parse_genesis(raw)


@pytest.mark.parametrize(
    "wrong",
    [
        {"schema": 2},
        {"name": ""},
        {"name": "Home"},
        {"name": "a" * 33},
        {"salt": bytes(65)},
        {"grants": GOOD.grants[::-1]},
        {"grants": GOOD.grants[:1] * 2},
        {"grants": tuple(replace(grant, amount=MAX_AMOUNT) for grant in GOOD.grants)},
        {"operator": None},
        {"committee": ()},
        {"operator": None, "committee": ()},
        {"committee": GOOD.committee[::-1]},
        {"committee": tuple(sorted(members(*range(1, MAX_MEMBERS + 2)), key=lambda member: member.peer))},
        {"committee": (replace(GOOD.committee[0], weight=2), *GOOD.committee[1:])},
    ],
)
def test_a_genesis_that_cannot_work_is_not_built(wrong):
    with pytest.raises(ValueError, match=r".+"):
        replace(GOOD, **wrong)


@pytest.mark.parametrize("wrong", [{"grace_seconds": -1}, {"cooldown_seconds": 1 << 30}, {"entry_burst": 0}])
def test_limits_are_within_reason(wrong):
    with pytest.raises(ValueError, match=r"a limit is|a burst is"):
        Limits(**wrong)


def test_grants_and_members_are_peers():
    with pytest.raises(ProtocolViolation):
        Grant(PeerId("nobody"), 1)
    with pytest.raises(ValueError, match="weight"):
        Member(OPERATOR.peer, 0)


@pytest.mark.parametrize(("size", "quorum"), [(1, 1), (2, 2), (3, 3), (4, 3), (5, 4), (6, 5), (7, 5), (16, 11)])
def test_more_than_two_thirds_certify(size, quorum):
    committee = Committee(0, members(*range(1, size + 1)))
    assert committee.quorum == quorum
    assert committee.has_quorum(committee.peers[:quorum])
    assert not committee.has_quorum((*committee.peers[: quorum - 1] * 2, who(50).peer))


def test_a_committee_is_named_by_its_number_and_members():
    assert Committee(0, members(1)).hash != Committee(1, members(1)).hash
    with pytest.raises(ValueError, match="number"):
        Committee(-1, members(1))
