"""What a simulated pipeline is bound by, with the reason in words."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from swarmd.scheduler.explain import milliseconds
from swarmd.scheduler.simulate import simulate
from swarmd.scheduler.simulated import OneWay, Outcome, Pipeline

NEAR = 0.95
"""From this share of what the slowest stage can do, that stage is what bounds the pipeline."""


class Bound(Enum):
    """The kinds of bounds."""

    COMPUTE = "compute"
    UPLINK = "uplink"
    ROUND_TRIP = "round trip"
    FILLING = "filling"


@dataclass(frozen=True, slots=True)
class Bottleneck:
    """What would have to change for more tokens a second."""

    bound: Bound
    stage: int | None
    """The stage it is about; None for round trips and for filling, which are about all."""
    ratio: float
    """Of the micro-batches a second that the slowest stage could do, if it never waited."""
    reason: str


def slowest_stage(pipeline: Pipeline) -> int:
    """The stage with the longest period; of equal ones the first."""
    return max(range(len(pipeline.stages)), key=lambda stage: (pipeline.period(stage), -stage))


def bottleneck(pipeline: Pipeline, one_way: OneWay, outcome: Outcome) -> Bottleneck:
    """What bounds the pipeline that came to this outcome. Where it waits, a second simulation tells for what."""
    stage = slowest_stage(pipeline)
    least = pipeline.micro_batches * pipeline.period(stage)
    took = outcome.step_seconds
    ratio = least / took if took else 1.0
    if ratio >= NEAR:
        return _of_stage(pipeline, stage, ratio)
    without = simulate(pipeline, lambda _, __: 0.0).step_seconds
    if took - without > (took - least) / 2:
        return Bottleneck(Bound.ROUND_TRIP, None, ratio, _round_trip_words(took, without))
    return Bottleneck(Bound.FILLING, None, ratio, _filling_words(pipeline, took, least))


def _of_stage(pipeline: Pipeline, stage: int, ratio: float) -> Bottleneck:
    nodes = pipeline.stages[stage]
    who = f"stage {stage} ({_named(node.name for node in nodes)})"
    period = milliseconds(pipeline.period(stage))
    sending = [node for node in nodes if pipeline.uplink_seconds(stage, node) > node.compute]
    if 2 * len(sending) > len(nodes):
        words = f"the uplink of {who}: it needs {period} a micro-batch to send, longer than to compute"
        return Bottleneck(Bound.UPLINK, stage, ratio, f"{words}; a faster uplink there, or fewer stages, would help")
    words = f"the compute of {who}: {period} a micro-batch, the longest of all stages"
    return Bottleneck(Bound.COMPUTE, stage, ratio, f"{words}; a faster peer, or fewer layers there, would help")


def _round_trip_words(took: float, without: float) -> str:
    return (
        f"the round trips between stages: a step takes {milliseconds(took)}, and would take {milliseconds(without)} "
        "without them; more micro-batches a step, or nearer peers, would help"
    )


def _filling_words(pipeline: Pipeline, took: float, least: float) -> str:
    return (
        f"filling and emptying the pipeline at each step: {pipeline.micro_batches} micro-batches for "
        f"{len(pipeline.stages)} stages take {milliseconds(took)}, and {milliseconds(least)} if it were always full; "
        "more micro-batches a step would help"
    )


def _named(names: Iterable[str], most: int = 3) -> str:
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")
