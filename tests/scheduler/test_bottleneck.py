"""What bounds a pipeline, and the credits that a plan's peers get."""

from __future__ import annotations

from swarmd.protocols.ids import PeerId
from swarmd.scheduler.bottleneck import Bottleneck, Bound, bottleneck, slowest_stage
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile
from swarmd.scheduler.scenario import PlannedStage, pipeline_of
from swarmd.scheduler.simulate import simulate
from swarmd.scheduler.simulated import Node, Pipeline

MODEL = ModelProfile(layers=4, layer_bytes=1, embed_bytes=0, head_bytes=0, boundary_bytes=1000)


def node(name: str, compute: float, credit: int = 64, **more: float) -> Node:
    return Node(name=name, forward=compute / 3, backward=compute * 2 / 3, credit=credit, **more)


def found(*stages: tuple[Node, ...], micro_batches: int, delay: float = 0.0) -> Bottleneck:
    flow = Pipeline(stages=stages, micro_batches=micro_batches, steps=3, forward_bytes=1000, backward_bytes=1000)
    return bottleneck(flow, lambda a, b: delay, simulate(flow, lambda a, b: delay))


def test_the_compute_of_the_slowest_stage():
    one = found((node("a", 0.1),), (node("b", 0.3),), micro_batches=64)
    assert (one.bound, one.stage) == (Bound.COMPUTE, 1)
    assert one.ratio > 0.95
    assert one.reason == (
        "the compute of stage 1 (b): 300 ms a micro-batch, the longest of all stages; a faster peer, or fewer "
        "layers there, would help"
    )


def test_the_uplink_of_the_slowest_stage():
    crowd = tuple(node(f"b{n}", 0.1, uplink=1000.0) for n in range(5))
    one = found((node("a", 0.1),), crowd, (node("c", 0.1),), micro_batches=256)
    assert (one.bound, one.stage) == (Bound.UPLINK, 1)
    assert one.reason.startswith("the uplink of stage 1 (b0, b1, b2 and 2 more): it needs 400 ms a micro-batch to send")


def test_round_trips():
    one = found((node("a", 0.1, 2),), (node("b", 0.1, 2),), micro_batches=64, delay=0.5)
    assert (one.bound, one.stage) == (Bound.ROUND_TRIP, None)
    assert "would take 6.5e+03 ms without them" in one.reason


def test_too_few_micro_batches():
    one = found(*((node(str(n), 0.1),) for n in range(4)), micro_batches=4)
    assert one.bound is Bound.FILLING
    assert round(one.ratio, 3) == round(4 / 7, 3)
    assert "4 micro-batches for 4 stages take 700 ms, and 400 ms if it were always full" in one.reason


def test_a_pipeline_without_any_work_is_bound_by_nothing_else_than_its_first_stage():
    assert found((node("a", 0.0),), micro_batches=1).ratio == 1.0


def test_of_equally_slow_stages_the_first_is_named():
    flow = Pipeline(
        stages=((node("a", 1.0),), (node("b", 1.0),)), micro_batches=1, steps=1, forward_bytes=0, backward_bytes=0
    )
    assert slowest_stage(flow) == 0


def worker(name: str, layer: float = 0.1, **more: float) -> WorkerProfile:
    ends = {"seconds_embed": 0.0, "seconds_head": 0.0, "memory_bytes": 100}
    return WorkerProfile(peer=PeerId(name), seconds_per_layer=layer, **{**ends, **more})


def planned(*stages: PlannedStage, round_trip: float = 0.0, micro_batches: int = 64) -> Pipeline:
    return pipeline_of(
        stages,
        MODEL,
        micro_batches=micro_batches,
        steps=3,
        round_trip=lambda a, b: round_trip,
        downlinks={PeerId("a"): 7.0},
    )


def test_a_plan_becomes_times_and_bytes():
    flow = planned(PlannedStage((worker("a", uplink_bytes_per_s=5.0),), 0, 1), PlannedStage((worker("b"),), 1, 4))
    (first,), (last,) = flow.stages
    assert (first.uplink, first.downlink, last.uplink, last.downlink) == (5.0, 7.0, 0.0, 0.0)
    assert round(first.compute, 9) == 0.1
    assert round(last.backward / last.forward, 9) == 2.0
    assert (flow.forward_bytes, flow.backward_bytes) == (1000, 1000)


def test_credits_grow_with_the_round_trip_and_towards_the_first_stage_and_stay_within_a_step():
    stages = [PlannedStage((worker(name),), number, number + 1) for number, name in enumerate("abcd")]
    near, far = planned(*stages), planned(*stages, round_trip=0.2)
    few = [stage[0].credit for stage in planned(*stages, round_trip=0.2, micro_batches=4).stages]
    near, far = ([stage[0].credit for stage in flow.stages] for flow in (near, far))
    assert near == sorted(near, reverse=True)
    assert [a - b for a, b in zip(far, near, strict=True)] == [6, 4, 2, 0]
    assert few == [min(4, each) for each in far]


def test_a_replica_gets_credit_for_its_share():
    pair = PlannedStage((worker("f", 0.1), worker("s", 0.3)), 1, 3)
    flow = planned(PlannedStage((worker("a"),), 0, 1), pair, PlannedStage((worker("z"),), 3, 4))
    fast, slow = flow.stages[1]
    assert fast.credit > slow.credit >= 2


def test_a_model_that_costs_nothing_may_hold_a_whole_step():
    assert planned(PlannedStage((worker("a", 0.0),), 0, 4)).stages[0][0].credit == 64


def test_a_replica_that_costs_nothing_beside_others():
    flow = planned(PlannedStage((worker("a", 0.0), worker("b")), 0, 2), PlannedStage((worker("z"),), 2, 4))
    assert flow.stages[0][0].credit >= 1
