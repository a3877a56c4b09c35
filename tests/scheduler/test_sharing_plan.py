"""Replicas where they make a step shorter, with the exchange of their sums counted."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.statements import Plan
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile
from swarmd.scheduler.replicas import ReplicaPlan
from swarmd.scheduler.sharing_plan import exchange_seconds, plan_shared, shared_places, step_seconds

MODEL = ModelProfile(
    layers=4, layer_bytes=1, embed_bytes=0, head_bytes=0, boundary_bytes=1000, part_bytes=(10**6, 10**6, 10**6)
)


def workers(*layers: float, uplink: float = 0.0) -> list[WorkerProfile]:
    return [
        WorkerProfile(
            peer=PeerId(f"peer{number}"),
            seconds_per_layer=each,
            seconds_embed=0.0,
            seconds_head=0.0,
            memory_bytes=100,
            uplink_bytes_per_s=uplink,
        )
        for number, each in enumerate(layers)
    ]


def planned(team: list[WorkerProfile], *, most: int = 8, micro_batches: int = 16, stages: int = 1) -> ReplicaPlan:
    sizes = {"min_stages": stages, "max_stages": stages, "micro_batches": micro_batches}
    return plan_shared(team, MODEL, most=most, looks=4000, **sizes)


def test_peers_share_a_stage_where_the_exchange_costs_nothing():
    plan = planned(workers(0.1, 0.1, 0.1))
    assert [len(stage.peers) for stage in plan.stages] == [3]
    assert "a step to add their sums" not in plan.summary


def test_no_stage_has_more_replicas_than_the_job_allows():
    assert [len(stage.peers) for stage in planned(workers(0.1, 0.1, 0.1, 0.1), most=2).stages] == [2]


def test_where_the_exchange_takes_longer_than_it_saves_nobody_shares():
    slow = workers(0.1, 0.1, 0.1, uplink=10**4)
    assert [len(stage.peers) for stage in planned(slow).stages] == [1]


def test_many_micro_batches_make_it_pay_again():
    slow = workers(0.1, 0.1, uplink=10**6)
    assert [len(stage.peers) for stage in planned(slow, micro_batches=4).stages] == [1]
    plan = planned(slow, micro_batches=400)
    assert [len(stage.peers) for stage in plan.stages] == [2]
    assert "6e+03 ms a step to add their sums" in plan.summary


def test_a_step_is_its_micro_batches_and_the_longest_exchange():
    team = workers(0.1, 0.1, uplink=10**6)
    plan = planned(team, micro_batches=400)
    assert exchange_seconds(plan.stages[0], team, MODEL) == 6.0
    assert step_seconds(plan, team, MODEL, 400) == pytest.approx(400 * 0.2 + 6.0)


@settings(deadline=None, max_examples=30)
@given(
    times=st.lists(st.floats(0.01, 1.0), min_size=2, max_size=6),
    most=st.integers(1, 4),
    stages=st.integers(1, 2),
)
def test_the_places_are_a_plan(times, most, stages):
    team = workers(*times)
    found = planned(team, most=most, stages=stages)
    places = shared_places(found, team, MODEL, most_held=16)
    plan = Plan(RunId("ab" * 32), 1, 1, places, None)
    assert [tuple(places[at].peer for at in group) for group in plan.groups] == [
        tuple(sorted(stage.peers)) for stage in found.stages
    ]
    assert all(1 <= place.credit <= 16 for place in places)
    assert all(len(group) <= most for group in plan.groups)


def test_a_slow_replica_serves_longer_and_needs_no_more_credit():
    team = workers(0.1, 0.3)
    fast, slow = shared_places(planned(team), team, MODEL, most_held=64)
    assert (fast.service, slow.service) == (400_000, 1_200_000)
    assert slow.credit <= fast.credit


def test_equal_inputs_give_equal_plans_in_any_order():
    team = workers(0.1, 0.3, 0.2, 0.15)
    assert planned(team, stages=2) == planned(team[::-1], stages=2)
