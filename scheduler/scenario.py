"""From a plan and its peers' profiles to the pipeline that is simulated: times, bytes and credits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from swarmd.protocols.ids import PeerId
from swarmd.scheduler.credit import credits
from swarmd.scheduler.nearness import RoundTrip
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile, place_of
from swarmd.scheduler.simulated import Node, Pipeline

FORWARD_SHARE = 1 / 3
"""Of a micro-batch's time: backward computes two products for forward's one."""


@dataclass(frozen=True, slots=True)
class PlannedStage:
    """Layers ``first`` to ``end - 1``, and who holds them."""

    workers: tuple[WorkerProfile, ...]
    first: int
    end: int


def pipeline_of(
    stages: Sequence[PlannedStage],
    model: ModelProfile,
    *,
    micro_batches: int,
    steps: int,
    round_trip: RoundTrip,
    downlinks: Mapping[PeerId, float] | None = None,
    asynchronous: bool = False,
) -> Pipeline:
    """The pipeline of a plan, with the credits that hide its links' delays, as far as a step has micro-batches.

    ``downlinks``: bytes a second, unlimited for peers it lacks. Raises ValueError for what cannot be simulated.
    """
    without = Pipeline(
        stages=tuple(_nodes(stage, model, downlinks or {}) for stage in stages),
        micro_batches=micro_batches,
        steps=steps,
        forward_bytes=model.boundary_bytes,
        backward_bytes=model.boundary_bytes if model.gradient_bytes is None else model.gradient_bytes,
        asynchronous=asynchronous,
    )
    crossing = [_mean_round_trip(a, b, round_trip) for a, b in pairwise(stages)]
    credited = tuple(
        tuple(replace(node, credit=_credit(without, index, node, crossing)) for node in nodes)
        for index, nodes in enumerate(without.stages)
    )
    return replace(without, stages=credited)


def _nodes(stage: PlannedStage, model: ModelProfile, downlinks: Mapping[PeerId, float]) -> tuple[Node, ...]:
    place, layers = place_of(stage.first, stage.end, model.layers), stage.end - stage.first
    return tuple(
        Node(
            name=worker.peer,
            forward=worker.compute_seconds(layers, place) * FORWARD_SHARE,
            backward=worker.compute_seconds(layers, place) * (1 - FORWARD_SHARE),
            credit=1,
            uplink=worker.uplink_bytes_per_s,
            downlink=downlinks.get(worker.peer, 0.0),
        )
        for worker in stage.workers
    )


def _credit(pipeline: Pipeline, index: int, node: Node, crossing: Sequence[float]) -> int:
    """Little's law, for a node that does its share of the pipeline's micro-batches."""
    count = len(pipeline.stages)
    service, period = pipeline.service(index, node), max(map(pipeline.period, range(count)))
    share = pipeline.period(index) / service if service else 1.0
    if not period or not share:
        return 1 if service else pipeline.most_held
    onward = pipeline.stages[index:]
    computing = _mean([_mean([each.compute for each in nodes]) for nodes in onward])
    sending = [
        _mean([pipeline.uplink_seconds(stage, each) for each in pipeline.stages[stage]])
        for stage in range(index, count)
    ]
    needed = credits(
        index,
        count,
        forward=computing * FORWARD_SHARE,
        backward=computing * (1 - FORWARD_SHARE),
        transfer=_mean(sending) / 2,
        round_trip=_mean(crossing[index:]),
        period=period / share,
    )
    return min(pipeline.most_held, needed)


def _mean_round_trip(before: PlannedStage, after: PlannedStage, round_trip: RoundTrip) -> float:
    return _mean([round_trip(a.peer, b.peer) for a in before.workers for b in after.workers])


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0
