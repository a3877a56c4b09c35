"""The machines that a loaded stage runs by, from what the coordinator planned."""

from __future__ import annotations

from swarmd.compute.messages import Load
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.around import dealt_to
from swarmd.scheduler.flow import FlowStage
from swarmd.scheduler.group import ReplicaGroup
from swarmd.train.apart import ApartReplica
from swarmd.train.evaluate import evaluation_due
from swarmd.train.replica import Replica
from swarmd.train.stage import Stage


def flow_of(load: Load, spec: JobSpec, version: int) -> FlowStage:
    """The choice machine for a stage that starts from these weights."""
    around, micro_batches = load.around, spec.batch.micro_batches
    apart = spec.lanes > 1
    due = {step for step in range(version, spec.schedule.steps + 1) if evaluation_due(spec.schedule, step)}
    if load.version is None and version:  # from a checkpoint, which is made after its version's evaluation
        due -= {version}
    return FlowStage(
        stage=load.stage,
        stages=load.stages,
        micro_batches=micro_batches,
        steps=spec.schedule.steps,
        credit=load.credit,
        evaluation_steps=frozenset(due if around.is_head else ()),
        evaluation_batches=evaluation_batches(spec),
        version=version,
        stale=spec.schedule.stale,
        shared=bool(around.others),
        dealt=spec.batch.of_lane(around.column, spec.lanes) if apart else dealt_to(around, micro_batches),
    )


def replica_of(load: Load, spec: JobSpec, stage: Stage) -> Replica | ApartReplica | None:
    """What this stage does as one of several replicas; None if it is alone."""
    around = load.around
    if not around.others:
        return None
    if spec.lanes > 1:
        return ApartReplica(spec, stage, around)
    group = ReplicaGroup(
        own=around.place, others=around.others, micro_batches=spec.batch.micro_batches, version=stage.version
    )
    return Replica(stage, group, around.others)


def evaluation_batches(spec: JobSpec) -> int:
    """Batches in one evaluation."""
    return spec.schedule.eval_windows // spec.batch.micro_batch_size
