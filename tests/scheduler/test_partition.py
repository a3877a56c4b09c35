"""The planner: exact against trying everything, deterministic, and with a reason for each peer."""

from __future__ import annotations

from itertools import combinations, permutations
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import PeerId
from swarmd.scheduler.partition import Partition, partition
from swarmd.scheduler.profiles import ModelProfile, Place, WorkerProfile

MIB = 1 << 20


def model(layers: int = 4, **more: int) -> ModelProfile:
    sizes = {"layer_bytes": MIB, "embed_bytes": MIB, "head_bytes": MIB, "boundary_bytes": 1000}
    return ModelProfile(layers=layers, **{**sizes, **more})


def worker(name: str, layer: float = 0.001, **more) -> WorkerProfile:
    ends = {"seconds_embed": 0.0, "seconds_head": 0.0, "memory_bytes": 100 * MIB}
    return WorkerProfile(peer=PeerId(f"{name:>8}"), seconds_per_layer=layer, **{**ends, **more})


def split(plan: Partition) -> list[tuple[str, int, int]]:
    return [(stage.peer.strip(), stage.first, stage.end) for stage in plan.stages]


class TestSplit:
    def test_equal_peers_get_equal_shares(self):
        plan = partition([worker(name) for name in "abcd"], model(8), min_stages=4)
        assert [(first, end) for _, first, end in split(plan)] == [(0, 2), (2, 4), (4, 6), (6, 8)]
        assert {peer for peer, _, _ in split(plan)} == set("abcd")

    def test_a_peer_twice_as_fast_gets_twice_the_layers(self):
        plan = partition([worker("slow", 0.002), worker("fast", 0.001)], model(6))
        assert {end - first for _, first, end in split(plan)} == {2, 4}
        assert plan.bottleneck_seconds == 0.004

    def test_the_head_counts_as_work(self):
        plan = partition([worker(name, seconds_head=0.002) for name in "ab"], model(6))
        assert split(plan) == [("a", 0, 4), ("b", 4, 6)]

    def test_a_stage_count_asked_for_is_kept_even_where_fewer_would_be_as_fast(self):
        peers = [worker("a", 0.001), *(worker(name, 0.1) for name in "bcd")]
        assert len(partition(peers, model(4)).stages) == 1
        assert len(partition(peers, model(4), min_stages=4, max_stages=4).stages) == 4

    def test_of_equally_fast_plans_the_one_with_fewest_stages_is_taken(self):
        peers = [worker(name, uplink_bytes_per_s=1e5) for name in "abc"]
        assert len(partition(peers, model(4)).stages) == 1

    def test_memory_bounds_a_stage(self):
        peers = [worker("a", 0.001, memory_bytes=3 * MIB), worker("b", 0.01)]
        assert split(partition(peers, model(4))) == [("a", 0, 2), ("b", 2, 4)]

    def test_a_slow_uplink_puts_a_peer_where_it_sends_less(self):
        peers = [worker("a"), worker("b"), worker("c", uplink_bytes_per_s=400_000)]
        ends = split(partition(peers, model(9), min_stages=3))
        assert ends[1][0] != "c"

    def test_one_class_only(self):
        peers = [worker("a", numerics="x"), worker("b", numerics="y"), worker("c", numerics="x")]
        plan = partition(peers, model(4), numerics="x", min_stages=2)
        assert [stage[0] for stage in split(plan)] == ["a", "c"]
        assert "left out        b: its numerics class y is not the run's" in plan.reason

    def test_the_order_in_which_peers_are_named_does_not_matter(self):
        peers = [worker(f"p{i}", 0.001 * (1 + i % 3), uplink_bytes_per_s=1e6) for i in range(7)]
        plans = {partition(order, model(12)) for order in (peers, peers[::-1], Random(1).sample(peers, 7))}
        assert len(plans) == 1


class TestGroups:
    """Stages are cut only between groups of layers; the last group may be shorter."""

    def test_a_stage_holds_whole_groups(self):
        plan = partition([worker("a"), worker("b")], model(8, group=4), min_stages=2)
        assert [(first, end) for _, first, end in split(plan)] == [(0, 4), (4, 8)]
        plan = partition([worker("a"), worker("b")], model(6, group=4), min_stages=2)
        assert [(first, end) for _, first, end in split(plan)] == [(0, 4), (4, 6)]

    def test_there_are_no_more_stages_than_groups(self):
        peers = [worker(name) for name in "abc"]
        assert len(partition(peers, model(4, group=2)).stages) == 2
        with pytest.raises(RunFailed, match="3 usable peers and 4 layers in 2 groups, and the job allows any number"):
            partition(peers, model(4, group=2), min_stages=3)

    def test_a_peer_left_out_is_told_of_groups(self):
        peers = [worker("a"), worker("b"), worker("y", 0.01), worker("z", memory_bytes=2 * MIB)]
        reason = partition(peers, model(12, group=3)).reason
        assert "left out        y: one group of 3 layers takes it 30 ms" in reason
        assert "left out        z: its 2 MiB of memory hold no group of 3 layers of 3 MiB" in reason

    def test_layers_that_fit_are_counted_in_groups(self):
        peers = [worker("a", memory_bytes=4 * MIB), worker("b", memory_bytes=4 * MIB)]
        with pytest.raises(RunFailed, match="5 of its 8 layers"):
            partition(peers, model(8, group=3))

    def test_activations_and_gradients_have_sizes_of_their_own(self):
        costs = model(4, boundary_bytes=2000, gradient_bytes=1000)
        assert [costs.sent_bytes(place) for place in Place] == [0, 2000, 3000, 1000]
        assert [model(4).sent_bytes(place) for place in Place] == [0, 1000, 2000, 1000]


class TestReasons:
    def test_each_stage_says_its_layers_and_what_bounds_it(self):
        peers = [worker("a", 0.001), worker("b", 0.001, uplink_bytes_per_s=500_000)]
        plan = partition(peers, model(4), min_stages=2)
        assert [stage.reason.strip() for stage in plan.stages] == [
            "a: layers 0-1, 2 ms, the slowest stage",
            "b: layers 2-3, 2 ms, set by its uplink, the slowest stage",
        ]
        odd = partition([worker("a"), worker("b")], model(3), min_stages=2)
        assert [stage.reason.strip() for stage in odd.stages] == [
            "a: layer 0, 1 ms, of 2 ms",
            "b: layers 1-2, 2 ms, the slowest stage",
        ]

    @pytest.mark.parametrize(
        ("more", "words"),
        [
            ({"memory_bytes": 100}, "its 100 bytes of memory hold no layer of 1 MiB"),
            ({"uplink_bytes_per_s": 1000.0}, "its uplink needs 2e+03 ms a micro-batch"),
            ({"layer": 0.5}, "one layer takes it 500 ms"),
            ({"layer": 0.0031}, "no pipeline of 1 to 2 stages is faster with it"),
        ],
        ids=["memory", "uplink", "slow", "not needed"],
    )
    def test_each_peer_left_out_is_told_why(self, more, words):
        plan = partition([worker("a"), worker("b"), worker("z", **more)], model(8), max_stages=2)
        assert f"left out        z: {words}" in plan.reason


class TestNoPlan:
    def test_too_few_peers(self):
        with pytest.raises(RunFailed, match=r"3 or more stages .* 1 usable peers") as caught:
            partition([worker("a")], model(4), min_stages=3)
        assert "fewer stages" in caught.value.hint

    def test_more_stages_than_layers_or_than_allowed(self):
        peers = [worker(name) for name in "abc"]
        with pytest.raises(RunFailed, match="2 layers, and the job allows any number of"):
            partition(peers, model(2), min_stages=3)
        with pytest.raises(RunFailed, match="allows at most 1"):
            partition(peers, model(4), min_stages=2, max_stages=1)

    def test_no_peers(self):
        with pytest.raises(RunFailed, match="0 usable peers"):
            partition([], model(4))

    def test_too_little_memory_names_need_and_have(self):
        peers = [worker(name, memory_bytes=2 * MIB) for name in "ab"]
        with pytest.raises(RunFailed, match=r"needs 6 MiB and they lend 4 MiB; 2 of its 4 layers"):
            partition(peers, model(4))

    def test_no_peer_holds_even_one_layer(self):
        with pytest.raises(RunFailed, match="0 of its 4 layers"):
            partition([worker("a", memory_bytes=5)], model(4))

    def test_a_profile_must_have_possible_numbers(self):
        for wrong in (float("nan"), -1.0, float("inf")):
            with pytest.raises(ValueError, match="impossible"):
                worker("a", wrong)

    def test_a_model_must_have_layers_of_some_size(self):
        for wrong in ({"layers": 0}, {"layer_bytes": 0}, {"group": 0}):
            with pytest.raises(ValueError, match="at least one"):
                model(**wrong)


def place_of(first: int, end: int, layers: int) -> Place:
    return {(True, True): Place.ONLY, (True, False): Place.FIRST, (False, True): Place.LAST}.get(
        (first == 0, end == layers), Place.MIDDLE
    )


def best_of_all(peers: list[WorkerProfile], costs: ModelProfile, least: int, most: int) -> tuple[float, int] | None:
    """Every ordered choice of peers with every way to cut: (period, stages)."""
    found = []
    for count in range(least, most + 1):
        for cuts in combinations(range(costs.group, costs.layers, costs.group), count - 1):
            ranges = list(zip((0, *cuts), (*cuts, costs.layers), strict=True))
            for team in permutations(peers, count):
                parts = [(p, e - f, place_of(f, e, costs.layers)) for p, (f, e) in zip(team, ranges, strict=True)]
                if all(costs.memory(n, place) <= p.memory_bytes for p, n, place in parts):
                    found.append((max(p.seconds(costs, n, place) for p, n, place in parts), count))
    return min(found, default=None)


speeds = st.one_of(st.sampled_from([0.001, 0.002, 0.0035]), st.floats(0, 0.01))


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_no_plan_is_faster_or_equally_fast_with_fewer_stages(data):
    costs = model(
        data.draw(st.integers(1, 7)),
        embed_bytes=data.draw(st.integers(0, 2)) * MIB,
        layer_bytes=data.draw(st.integers(1, 2)) * MIB // 2,
        gradient_bytes=data.draw(st.sampled_from([500, 1000])),
        group=data.draw(st.integers(1, 3)),
    )
    peers = [
        worker(
            f"p{number}",
            data.draw(speeds),
            seconds_embed=data.draw(speeds),
            seconds_head=data.draw(speeds),
            memory_bytes=data.draw(st.integers(0, 6)) * MIB,
            uplink_bytes_per_s=data.draw(st.sampled_from([0.0, 1e5, 3e5, 1e6])),
        )
        for number in range(data.draw(st.integers(1, 4)))
    ]
    most = data.draw(st.integers(1, min(len(peers), costs.groups)))
    least = data.draw(st.integers(1, most))
    wanted = best_of_all(peers, costs, least, most)
    if wanted is None:
        with pytest.raises(RunFailed, match="does not fit"):
            partition(peers, costs, min_stages=least, max_stages=most)
        return
    plan = partition(peers, costs, min_stages=least, max_stages=most)
    assert (plan.bottleneck_seconds, len(plan.stages)) == wanted
    check(plan, peers, costs)


def check(plan: Partition, peers: list[WorkerProfile], costs: ModelProfile) -> None:
    """The stages cover the layers in order, each by another peer, within memory and as fast as they say."""
    by_peer = {peer.peer: peer for peer in peers}
    assert [stage.first for stage in plan.stages] == [0, *(stage.end for stage in plan.stages[:-1])]
    assert plan.stages[-1].end == costs.layers
    assert len({stage.peer for stage in plan.stages}) == len(plan.stages)
    for stage in plan.stages:
        place, count = place_of(stage.first, stage.end, costs.layers), stage.end - stage.first
        assert count >= 1
        assert stage.first % costs.group == 0
        assert costs.memory(count, place) <= by_peer[stage.peer].memory_bytes
        assert stage.seconds == by_peer[stage.peer].seconds(costs, count, place) <= plan.bottleneck_seconds


def test_many_peers_are_planned_from_the_few_that_can_matter():
    random = Random(7)
    peers = [worker(f"p{i}", random.uniform(0.001, 0.01), uplink_bytes_per_s=1e6) for i in range(60)]
    plan = partition(peers, model(16))
    check(plan, peers, model(16))
    assert len(plan.stages) > 1
