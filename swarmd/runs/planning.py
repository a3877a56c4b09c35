"""From what the members' probes measured to a plan: the planner decides, this puts the figures in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import trio

from swarmd.protocols.footprint import most_held
from swarmd.protocols.ids import PeerId
from swarmd.protocols.messages import Profiled
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import RunRecord
from swarmd.runs.spending import spending_of
from swarmd.scheduler.apart_plan import plan_apart
from swarmd.scheduler.credit import planned_credit
from swarmd.scheduler.partition import Partition, StagePlan
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile, in_memory
from swarmd.scheduler.purse import Purse
from swarmd.scheduler.replicas import ReplicaPlan
from swarmd.scheduler.sharing_plan import plan_shared, shared_places
from swarmd.scheduler.thrift import plan_within

FREE: Mapping[PeerId, int] = MappingProxyType({})
"""Nobody asks anything."""


async def make_plan(
    record: RunRecord, peers: tuple[PeerId, ...], deps: RunDeps, prices: Mapping[PeerId, int] = FREE
) -> tuple[Plan, tuple[str, ...]]:
    """The plan for these members, and why each stage is where it is. ``prices`` is what they ask.

    Raises:
        RunFailed: no split fits; says what is short.
        Refused: none that the budget pays for was found; says which budget is enough.
    """
    workers = [worker_profile(peer, profile) for peer in peers if (profile := record.member(peer).profile)]
    if record.spec.lanes > 1:
        return await _apart(record, [worker for worker in workers if not prices.get(worker.peer)], deps)
    if record.asked.replicas > 1 and not any(prices.get(worker.peer) for worker in workers):
        return await _shared(record, workers, deps)
    purse, asked = await purse_of(record, deps, prices), record.asked

    def planned(model: ModelProfile) -> Partition:
        return plan_within(workers, model, purse, min_stages=asked.min_stages, max_stages=asked.max_stages)

    chosen = await trio.to_thread.run_sync(in_memory, record.spec, planned)
    return _plan(record, chosen, deps), tuple(stage.reason for stage in chosen.stages)


async def _apart(record: RunRecord, workers: list[WorkerProfile], deps: RunDeps) -> tuple[Plan, tuple[str, ...]]:
    """As ``make_plan``, for replicas that train apart: among peers that ask nothing."""
    spec, asked = record.spec, record.asked

    def planned(model: ModelProfile) -> tuple[tuple[StageAssignment, ...], tuple[str, ...]]:
        return plan_apart(
            workers, model, lanes=spec.lanes, most_held=most_held(spec),
            min_stages=asked.min_stages, max_stages=asked.max_stages,
        )  # fmt: skip

    places, reasons = await trio.to_thread.run_sync(in_memory, spec, planned)
    told = tuple(replace(place, addresses=_addresses(place.peer, deps)) for place in places)
    return Plan(record.run, record.term, record.next_number, told, record.start), reasons


async def _shared(record: RunRecord, workers: list[WorkerProfile], deps: RunDeps) -> tuple[Plan, tuple[str, ...]]:
    """As ``make_plan``, where several peers may share a stage; nobody is paid for being a replica."""
    spec, asked = record.spec, record.asked

    def planned(model: ModelProfile) -> tuple[ReplicaPlan, ModelProfile]:
        plan = plan_shared(
            workers, model, most=asked.replicas, micro_batches=spec.batch.micro_batches,
            min_stages=asked.min_stages, max_stages=asked.max_stages,
        )  # fmt: skip
        return plan, model

    chosen, model = await trio.to_thread.run_sync(lambda: in_memory(spec, planned, shared=True))
    places = shared_places(chosen, workers, model, most_held(spec))
    told = tuple(replace(place, addresses=_addresses(place.peer, deps)) for place in places)
    reasons = tuple(stage.reason for stage in chosen.stages for _ in stage.peers)
    return Plan(record.run, record.term, record.next_number, told, record.start), reasons


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


def _plan(record: RunRecord, chosen: Partition, deps: RunDeps) -> Plan:
    stages = tuple(
        StageAssignment(
            stage.peer,
            stage.first,
            stage.end,
            _credit(index, stage, chosen, record.spec),
            _addresses(stage.peer, deps),
        )
        for index, stage in enumerate(chosen.stages)
    )
    return Plan(record.run, record.term, record.next_number, stages, record.start)


def _addresses(peer: PeerId, deps: RunDeps) -> tuple[str, ...]:
    advert = deps.adverts().get(peer)
    return advert.addresses if advert else ()


def _credit(index: int, stage: StagePlan, chosen: Partition, spec: JobSpec) -> int:
    needed = planned_credit(index, len(chosen.stages), seconds=stage.seconds, period=chosen.bottleneck_seconds)
    return min(most_held(spec), needed)
