"""Whether replicas pay: the plan whose step is shortest, with what replicas have to send each other in it.

More replicas make a stage faster for every micro-batch, and cost the exchange of their sums once a step (decision 13).
So for each number of replicas that a job allows the fastest plan is found, and its step is timed as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from swarmd.protocols.ids import PeerId
from swarmd.protocols.statements import StageAssignment
from swarmd.scheduler.credit import planned_credit
from swarmd.scheduler.explain import milliseconds
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile, place_of
from swarmd.scheduler.replicas import LOOKS, ReplicaPlan, ReplicaStage, plan_replicas


def plan_shared(
    workers: Sequence[WorkerProfile],
    model: ModelProfile,
    *,
    most: int,
    micro_batches: int,
    min_stages: int = 1,
    max_stages: int | None = None,
    looks: int = LOOKS,
) -> ReplicaPlan:
    """The plan of shortest steps among those with up to ``most`` replicas of a stage; of equals, that of fewest.

    Raises RunFailed as ``plan_replicas`` does.
    """
    tried = [
        plan_replicas(workers, model, most=each, min_stages=min_stages, max_stages=max_stages, looks=looks // most)
        for each in range(1, most + 1)
    ]
    chosen = min(tried, key=lambda plan: step_seconds(plan, workers, model, micro_batches))
    seconds = max(exchange_seconds(stage, workers, model) for stage in chosen.stages)
    exchange = f", {milliseconds(seconds)} a step to add their sums" if seconds else ""
    return replace(chosen, summary=chosen.summary + exchange)


def step_seconds(plan: ReplicaPlan, workers: Sequence[WorkerProfile], model: ModelProfile, micro_batches: int) -> float:
    """A step of this plan: its micro-batches at the slowest stage, and the longest exchange."""
    exchange = max(exchange_seconds(stage, workers, model) for stage in plan.stages)
    return micro_batches / plan.rate + exchange


def exchange_seconds(stage: ReplicaStage, workers: Sequence[WorkerProfile], model: ModelProfile) -> float:
    """How long the replicas of a stage send their sums to each other; 0 for one alone, or unknown uplinks."""
    uplinks: dict[PeerId, float] = {worker.peer: worker.uplink_bytes_per_s for worker in workers}
    slowest = min((uplinks[peer] for peer in stage.peers if uplinks[peer]), default=0.0)
    layers, place = stage.end - stage.first, place_of(stage.first, stage.end, model.layers)
    sent = (len(stage.peers) - 1) * model.exchanged(layers, place)
    return sent / slowest if slowest else 0.0


def shared_places(
    plan: ReplicaPlan, workers: Sequence[WorkerProfile], model: ModelProfile, most_held: int
) -> tuple[StageAssignment, ...]:
    """The plan's places in order, without addresses; replicas of a stage by rising peer id.

    A replica's credit is for the micro-batches that reach it: one in each of its turns.
    """
    by_peer = {worker.peer: worker for worker in workers}
    places: list[StageAssignment] = []
    for number, stage in enumerate(plan.stages):
        layers, place = stage.end - stage.first, place_of(stage.first, stage.end, model.layers)
        for peer in sorted(stage.peers):
            seconds = by_peer[peer].seconds(model, layers, place)
            turn = seconds * stage.rate / plan.rate
            credit = min(most_held, planned_credit(number, len(plan.stages), seconds=seconds, period=turn))
            service = max(1, round(seconds * 1e6)) if len(stage.peers) > 1 else 0
            places.append(StageAssignment(peer, stage.first, stage.end, credit, (), service))
    return tuple(places)
