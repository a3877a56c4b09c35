"""From what the members' probes measured to a plan: the planner decides, this puts the figures in order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TypeVar

import trio

from swarmd.protocols.boundary import frame_bytes
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.footprint import (
    embedding_parameters,
    frozen_bytes,
    head_parameters,
    held_memory,
    layer_parameters,
    logits_bytes,
    most_held,
    unit_memory,
)
from swarmd.protocols.ids import PeerId
from swarmd.protocols.messages import Profiled
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.protocols.tensors import Direction
from swarmd.protocols.wirerules import group_of
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import RunRecord
from swarmd.runs.spending import spending_of
from swarmd.scheduler.flow import credits
from swarmd.scheduler.partition import Partition, StagePlan
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile
from swarmd.scheduler.purse import Purse
from swarmd.scheduler.thrift import plan_within

T = TypeVar("T")

FREE: Mapping[PeerId, int] = MappingProxyType({})
"""Nobody asks anything."""
ASSUMED_ROUND_TRIP = 0.05
"""Seconds between neighbours, until it is measured: credits for a home link cost a near one only memory."""
BACKWARD_SHARE = 2 / 3
"""Of a micro-batch's time: backward computes two products for forward's one."""


async def make_plan(
    record: RunRecord, peers: tuple[PeerId, ...], deps: RunDeps, prices: Mapping[PeerId, int] = FREE
) -> tuple[Plan, tuple[str, ...]]:
    """The plan for these members, and why each stage is where it is. ``prices`` is what they ask.

    Raises:
        RunFailed: no split fits; says what is short.
        Refused: none that the budget pays for was found; says which budget is enough.
    """
    workers = [worker_profile(peer, profile) for peer in peers if (profile := record.member(peer).profile)]
    purse = await purse_of(record, deps, prices)

    def planned(model: ModelProfile) -> Partition:
        return plan_within(workers, model, purse, min_stages=record.min_stages, max_stages=record.max_stages)

    chosen = await trio.to_thread.run_sync(in_memory, record.spec, planned)
    return _plan(record, chosen, deps), tuple(stage.reason for stage in chosen.stages)


async def purse_of(record: RunRecord, deps: RunDeps, prices: Mapping[PeerId, int]) -> Purse:
    """What the rest of a run may cost."""
    before = await spending_of(record, deps.jobs)
    return Purse(
        spec=record.spec,
        steps=record.spec.schedule.steps - record.start_step,
        prices=prices,
        budget=record.budget.max_credits,
        spent=before.spent if before else 0,
    )


def worker_profile(peer: PeerId, profile: Profiled) -> WorkerProfile:
    """A member's probe as the planner takes it."""
    return WorkerProfile(
        peer=peer,
        seconds_per_layer=profile.layer_ns / 1e9,
        seconds_embed=profile.embed_ns / 1e9,
        seconds_head=profile.head_ns / 1e9,
        memory_bytes=profile.memory_bytes,
        uplink_bytes_per_s=float(profile.uplink_bytes_per_s),
        numerics=profile.numerics,
    )


def in_memory(spec: JobSpec, plan: Callable[[ModelProfile], T]) -> T:
    """A plan of stages that have all the memory they can use; where there is none, of stages that make do with less.

    Raises RunFailed when there is none of either.
    """
    try:
        return plan(model_profile(spec))
    except RunFailed:
        return plan(model_profile(spec, least=True))


def model_profile(spec: JobSpec, *, least: bool = False) -> ModelProfile:
    """What a micro-batch of this spec costs; memory counts as many held ones as there can be.

    With ``least`` it counts one at a time, of which a layer keeps its input (``swarmd.scheduler.fitting``).
    """
    model, batch, held = spec.model, spec.batch, 1 if least else most_held(spec)
    one, two = (held_memory(spec, layers, held, recompute=least) for layers in (1, 2))
    return ModelProfile(
        layers=model.num_hidden_layers,
        layer_bytes=unit_memory(spec, layer_parameters(model)) + two - one,
        embed_bytes=unit_memory(spec, embedding_parameters(model)),
        head_bytes=unit_memory(spec, head_parameters(model)) + logits_bytes(model, batch),
        boundary_bytes=frame_bytes(spec, Direction.FORWARD),
        gradient_bytes=frame_bytes(spec, Direction.BACKWARD),
        stage_bytes=frozen_bytes(model) + 2 * one - two,
        group=group_of(spec.wire),
    )


def _plan(record: RunRecord, chosen: Partition, deps: RunDeps) -> Plan:
    adverts = deps.adverts()
    stages = tuple(
        StageAssignment(
            stage.peer,
            stage.first,
            stage.end,
            _credit(index, stage, chosen, record.spec),
            adverts[stage.peer].addresses if stage.peer in adverts else (),
        )
        for index, stage in enumerate(chosen.stages)
    )
    return Plan(record.run, record.term, 1, stages, record.start)


def _credit(index: int, stage: StagePlan, chosen: Partition, spec: JobSpec) -> int:
    needed = credits(
        index,
        len(chosen.stages),
        forward=stage.seconds * (1 - BACKWARD_SHARE),
        backward=stage.seconds * BACKWARD_SHARE,
        transfer=0.0,
        round_trip=ASSUMED_ROUND_TRIP,
        period=chosen.bottleneck_seconds,
    )
    return min(most_held(spec), needed)
