"""Teams of like peers, planned as one."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.statements import Plan
from swarmd.scheduler.apart_plan import as_one, plan_apart, teams_of
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile

MODEL = ModelProfile(layers=4, layer_bytes=10, embed_bytes=0, head_bytes=0, boundary_bytes=1000)


def worker(name: str, layer: float, *, memory: int = 100, uplink: float = 0.0) -> WorkerProfile:
    return WorkerProfile(
        peer=PeerId(name),
        seconds_per_layer=layer,
        seconds_embed=layer / 2,
        seconds_head=layer / 4,
        memory_bytes=memory,
        uplink_bytes_per_s=uplink,
    )


WORKERS = [worker("a", 0.4), worker("b", 0.1), worker("c", 0.35), worker("d", 0.12), worker("e", 0.5)]


def test_peers_of_like_speed_make_a_team_and_the_slowest_are_left_out():
    assert [[each.peer for each in team] for team in teams_of(WORKERS, 2)] == [["b", "d"], ["c", "a"]]


def test_too_few_peers_make_no_team():
    with pytest.raises(RunFailed, match="8 replicas train apart in every stage, and 5 usable peers are here"):
        teams_of(WORKERS, 8)


def test_a_team_is_as_slow_as_its_slowest_and_as_small_as_its_smallest():
    one = as_one((worker("a", 0.1, memory=50, uplink=7.0), worker("b", 0.2, memory=40), worker("c", 0.1, uplink=5.0)))
    assert one == worker("a", 0.2, memory=40, uplink=5.0)


def test_every_stage_has_a_whole_team():
    places, reasons = plan_apart(WORKERS, MODEL, lanes=2, most_held=8, min_stages=2)
    plan = Plan(RunId("ab" * 32), 1, 1, places, None)
    assert [[places[at].peer for at in group] for group in plan.groups] in (
        [["b", "d"], ["a", "c"]],
        [["a", "c"], ["b", "d"]],
    )
    assert [place.end - place.first for place in places if place.peer in ("b", "d")] == [3, 3]
    assert len(reasons) == 4
    assert all("trains apart with" in reason for reason in reasons)
    assert all(1 <= place.credit <= 8 for place in places)
