"""Plans with replicas: against every plan there is where that can be asked, against an upper bound elsewhere."""

from __future__ import annotations

from dataclasses import replace
from itertools import permutations
from random import Random
from statistics import mean

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import PeerId
from swarmd.scheduler.cover import NOBODY, Budget, Cover, Rates, improve
from swarmd.scheduler.nearness import length, nearest_order
from swarmd.scheduler.partition import partition
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile, place_of
from swarmd.scheduler.replicas import ReplicaPlan, plan_replicas, upper_bound
from tests.scheduler.planning_cases import MIB, best_of_all, uneven


def worker(name: str, layer: float = 0.1, memory: float = 100, **more: float) -> WorkerProfile:
    ends = {"seconds_embed": 0.0, "seconds_head": 0.0, "memory_bytes": int(memory * MIB)}
    return WorkerProfile(peer=PeerId(f"{name:>8}"), seconds_per_layer=layer, **{**ends, **more})


def model(layers: int) -> ModelProfile:
    return ModelProfile(layers=layers, layer_bytes=MIB, embed_bytes=0, head_bytes=0, boundary_bytes=1000)


def check(plan: ReplicaPlan, workers: list[WorkerProfile], costs: ModelProfile) -> None:
    """The stages cover the layers in order, each peer holds one at most and within its memory, the rates add up."""
    by_peer = {each.peer: each for each in workers}
    assert [stage.first for stage in plan.stages] == [0, *(stage.end for stage in plan.stages[:-1])]
    assert plan.stages[-1].end == costs.layers
    held = [peer for stage in plan.stages for peer in stage.peers]
    assert len(held) == len(set(held))
    assert len(held) + len(plan.left_out) == len(workers)
    for stage in plan.stages:
        count, place = stage.end - stage.first, place_of(stage.first, stage.end, costs.layers)
        assert all(costs.memory(count, place) <= by_peer[peer].memory_bytes for peer in stage.peers)
        assert stage.rate == pytest.approx(sum(1 / by_peer[peer].seconds(costs, count, place) for peer in stage.peers))
    assert plan.rate == min(stage.rate for stage in plan.stages) <= plan.at_most * (1 + 1e-9)


class TestQuality:
    @pytest.mark.slow
    @pytest.mark.parametrize(("layers", "peers"), [(4, 4), (6, 5), (8, 4)])
    def test_small_ones_are_near_the_best_of_all(self, layers, peers):
        cases = [uneven(layers, peers, seed) for seed in range(4)]
        ratios = [plan_replicas(*case, looks=40_000).rate / best_of_all(*case) for case in cases]
        assert mean(ratios) >= 0.99
        assert min(ratios) >= 0.95

    @pytest.mark.slow
    def test_larger_ones_are_near_what_no_plan_exceeds(self):
        for seed in range(2):
            workers, costs = uneven(24, 24, seed)
            plan = plan_replicas(workers, costs, looks=100_000)
            check(plan, workers, costs)
            assert plan.rate >= 0.98 * plan.at_most

    def test_equal_peers_double_the_rate_when_they_double(self):
        four, eight = (plan_replicas([worker(str(n)) for n in range(count)], model(4)) for count in (4, 8))
        assert eight.rate == pytest.approx(2 * four.rate)

    def test_it_is_never_slower_than_the_exact_chain(self):
        for seed in range(10):
            workers, costs = uneven(6, 4, seed)
            chain = partition(workers, costs)
            assert plan_replicas(workers, costs, looks=0).rate >= 1 / chain.bottleneck_seconds - 1e-9

    def test_a_chain_that_only_the_exact_planner_finds_is_taken(self):
        """Equal cuts fit nobody here: one layer, then three."""
        workers = [worker("a", memory=1.0), worker("b", memory=3.0)]
        plan = plan_replicas(workers, model(4), looks=0)
        assert [(stage.first, stage.end) for stage in plan.stages] == [(0, 1), (1, 4)]


class TestNoMoreThanNeeded:
    def test_a_peer_that_makes_nothing_faster_is_left_out(self):
        plan = plan_replicas([worker("a"), worker("b", 10.0, memory=1)], model(4))
        assert [stage.peers for stage in plan.stages] == [(PeerId("       a"),)]
        assert plan.left_out == ("left out        b: the slowest stage is no faster with it",)

    def test_a_replica_that_one_stage_gains_by_alone_is_left_out(self):
        plan = plan_replicas([*(worker(name, memory=1) for name in "abcd"), worker("e", 0.15, memory=1)], model(2))
        assert [len(stage.peers) for stage in plan.stages] == [2, 2]
        assert plan.left_out == ("left out        e: the slowest stage is no faster with it",)

    def test_a_peer_without_room_is_told_so(self):
        plan = plan_replicas([worker("a"), worker("b", memory=0.5)], model(4))
        assert plan.left_out == ("left out        b: its 524,288 bytes of memory hold no layer of 1 MiB",)

    def test_replicas_that_make_nothing_faster_are_no_replicas(self):
        plan = plan_replicas([worker(name) for name in "abcd"], model(4))
        assert [len(stage.peers) for stage in plan.stages] == [1, 1, 1, 1]

    def test_stages_asked_for_are_kept(self):
        peers = [worker(name) for name in "abcd"]
        assert len(plan_replicas(peers, model(4), max_stages=1).stages) == 1
        assert len(plan_replicas(peers, model(4), min_stages=3, max_stages=3).stages) == 3


class TestReasons:
    def test_a_stage_names_its_peers_with_their_shares(self):
        slow = [worker(name, 0.3, memory=2, uplink_bytes_per_s=1000.0) for name in "bd"]
        plan = plan_replicas([worker("a", memory=2), worker("c", memory=2), *slow], model(4))
        told = " ".join(stage.reason for stage in plan.stages)
        assert told.startswith("layers 0-1, 6 a second, the slowest stage: ")
        assert "b 17% (1e+03 ms by its uplink)" in told
        assert "a 83% (200 ms)" in told
        assert plan.summary.startswith("2 stages of 4 peers, 6 micro-batches a second")

    def test_one_layer_is_said_in_the_singular(self):
        plan = plan_replicas([worker(name, memory=1) for name in "ab"], model(2))
        assert [stage.reason for stage in plan.stages] == [
            f"layer {number}, 10 a second, the slowest stage: {stage.peers[0]} 100% (100 ms)"
            for number, stage in enumerate(plan.stages)
        ]


class TestNoPlan:
    def test_too_little_memory(self):
        with pytest.raises(RunFailed, match="does not fit"):
            plan_replicas([worker(name, memory=1) for name in "ab"], model(4))

    def test_too_few_peers(self):
        with pytest.raises(RunFailed, match="3 or more stages"):
            plan_replicas([worker("a")], model(4), min_stages=3)
        with pytest.raises(RunFailed, match="0 usable peers"):
            plan_replicas([], model(4))

    def test_too_many_peers(self):
        with pytest.raises(ValueError, match="at most 4096"):
            plan_replicas([worker("a")] * 4097, model(4))


@settings(deadline=None, max_examples=40)
@given(data=st.data())
def test_a_plan_is_whole_and_the_same_whatever_the_order_of_the_peers(data):
    layers, peers = data.draw(st.integers(1, 6)), data.draw(st.integers(1, 7))
    workers, costs = uneven(layers, peers, data.draw(st.integers(0, 999)))
    workers = [
        replace(each, uplink_bytes_per_s=data.draw(st.sampled_from([0.0, each.uplink_bytes_per_s]))) for each in workers
    ]
    try:
        plan = plan_replicas(workers, costs, looks=3000)
    except RunFailed:
        with pytest.raises(RunFailed):
            partition(workers, costs)
        return
    check(plan, workers, costs)
    assert plan == plan_replicas(data.draw(st.permutations(workers)), costs, looks=3000)
    assert plan.rate <= upper_bound(workers, costs) * (1 + 1e-9)


class TestSearch:
    def test_peers_that_cost_nothing_have_a_rate_all_the_same(self):
        free = [worker(name, 0.0, memory=2) for name in "abc"]
        assert plan_replicas(free, model(4)).rate > 1e9

    def test_two_peers_that_stand_in_each_other_s_place_are_swapped(self):
        """The slow link belongs at an end, which sends half as much."""
        peers = [worker("a", 1e-6, uplink_bytes_per_s=1000.0), worker("b", 1e-6), worker("c", 1e-6)]
        rates = Rates(peers, model(3))
        kinds = ((1, Place.FIRST), (1, Place.MIDDLE), (1, Place.LAST))
        cover = Cover(kinds, [rates.of(kind) for kind in kinds], [NOBODY] * 3, [0.0] * 3)
        for peer, stage in ((0, 1), (1, 0), (2, 2)):
            cover.put(peer, stage)
        assert improve(cover, Random(0), Budget(1000)).who[0] != 1
        assert cover.rate == pytest.approx(1.0)

    def test_of_too_many_pairs_a_sample_is_looked_at(self):
        workers, costs = uneven(8, 200, 1)
        plan = plan_replicas(workers, costs, looks=60_000, min_stages=2, max_stages=4)
        check(plan, workers, costs)
        assert plan == plan_replicas(workers, costs, looks=60_000, min_stages=2, max_stages=4)


def cities(count: int, seed: int) -> list[tuple[float, float]]:
    random = Random(seed)
    return [(random.choice([0, 40, 90]) + random.gauss(0, 4), random.gauss(0, 8)) for _ in range(count)]


def between(places: list[tuple[float, float]]):
    return lambda a, b: abs(complex(*places[int(a)]) - complex(*places[int(b)]))


class TestOrder:
    def test_it_is_near_the_best_of_all_orders(self):
        for seed in range(5):
            places = cities(8, seed)
            trip = between(places)
            order = nearest_order([[PeerId(str(n))] for n in range(8)], trip)
            table = [[trip(a, b) for b in range(8)] for a in range(8)]
            best = min(length((0, *middle, 7), table) for middle in permutations(range(1, 7)))
            assert (order[0], order[-1], sorted(order)) == (0, 7, list(range(8)))
            assert length(order, table) <= 1.02 * best

    def test_with_one_middle_stage_or_none_there_is_nothing_to_order(self):
        assert nearest_order([[PeerId("0")]] * 3, lambda a, b: 1.0) == [0, 1, 2]

    def test_a_group_counts_by_the_mean_of_some_of_its_replicas(self):
        places = [(0.0, 0.0)] * 9 + [(50.0, 0.0)] * 9 + [(100.0, 0.0), (-100.0, 0.0)]
        far, near = [PeerId(str(n)) for n in range(9, 18)], [PeerId(str(n)) for n in range(9)]
        assert nearest_order([[PeerId("19")], far, near, [PeerId("18")]], between(places)) == [0, 2, 1, 3]

    def test_a_plan_s_middle_stages_stand_in_order_of_delay(self):
        peers = [worker(str(n), memory=1) for n in range(6)]
        places = [(float(n * 37 % 6), 0.0) for n in range(6)]
        plan = plan_replicas(peers, model(6), round_trip=between(places))
        order = [int(stage.peers[0]) for stage in plan.stages]
        trip = between(places)
        table = [[trip(a, b) for b in range(6)] for a in range(6)]
        assert (
            length(order, table)
            <= min(length((order[0], *middle, order[-1]), table) for middle in permutations(order[1:-1])) + 1e-9
        )
