"""What a place of a plan knows of the places around it."""

from __future__ import annotations

import pytest

from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.scheduler.around import Around, Seat, around, chain_around, dealt_to, stage_of

RUN = RunId("ab" * 32)


def plan(*groups: int) -> Plan:
    """A plan with so many replicas of each stage; credits and services tell the places apart."""
    places: list[StageAssignment] = []
    for stage, count in enumerate(groups):
        for _ in range(count):
            place = len(places)
            service = 100 + place if count > 1 else 0
            places.append(StageAssignment(PeerId(f"peer{place:02}"), stage, stage + 1, 1 + place, (), service))
    return Plan(RUN, 1, 1, tuple(places), None)


def test_a_place_knows_the_stage_before_its_own_and_the_stage_after():
    found = around(plan(2, 2, 1), 3)
    assert found == Around(3, (Seat(0, 1, 100), Seat(1, 2, 101)), (Seat(2, 3, 102), Seat(3, 4, 103)), (Seat(4, 5, 0),))
    assert found.others == (2,)
    assert found.neighbours == (0, 1, 2, 4)
    assert not found.is_head


@pytest.mark.parametrize("stage", range(3))
def test_in_a_chain_a_place_is_a_stage(stage):
    found, seats = around(plan(1, 1, 1), stage), chain_around(stage, 3)
    assert (found.place, found.neighbours, found.others, found.is_head) == (stage, seats.neighbours, (), True)


def test_where_replicas_train_apart_each_has_its_own_way():
    found = around(plan(2, 2, 2), 3, apart=True)
    assert ([seat.place for seat in found.before], [seat.place for seat in found.after]) == ([1], [5])
    assert (found.column, found.others, found.neighbours) == (1, (2,), (1, 2, 5))


def test_a_stage_alone_has_nobody_around():
    assert around(plan(1), 0).neighbours == chain_around(0, 1).neighbours == ()


@pytest.mark.parametrize("place", [-1, 3])
def test_a_place_the_plan_does_not_have(place):
    with pytest.raises(ValueError, match=f"no place {place}"):
        stage_of(plan(1, 2), place)


def test_a_shared_first_stage_is_dealt_its_micro_batches_by_speed():
    seats = (Seat(0, 4, 10), Seat(1, 4, 30))
    shares = [dealt_to(Around(place, (), seats, (Seat(2),)), 8) for place in (0, 1)]
    assert sorted(each for share in shares for each in share or ()) == list(range(8))
    assert [len(share or ()) for share in shares] == [6, 2]


@pytest.mark.parametrize("found", [chain_around(0, 2), Around(2, (Seat(0),), (Seat(1, 1, 5), Seat(2, 1, 5)), ())])
def test_no_other_place_is_dealt_any(found):
    assert dealt_to(found, 8) is None
