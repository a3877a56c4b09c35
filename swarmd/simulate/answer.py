"""The plan for described peers, what it would do, and what bounds it, as one JSON object."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmd.protocols.footprint import parameter_count
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobfile import JobFile
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.apart_plan import as_one, teams_of
from swarmd.scheduler.bottleneck import Bottleneck, bottleneck, slowest_stage
from swarmd.scheduler.nearness import RoundTrip
from swarmd.scheduler.partition import partition
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile, in_memory
from swarmd.scheduler.replicas import plan_replicas
from swarmd.scheduler.scenario import PlannedStage, pipeline_of
from swarmd.scheduler.settling import Settled
from swarmd.scheduler.simulate import simulate
from swarmd.scheduler.simulated import MAX_MESSAGES, Outcome, Pipeline
from swarmd.simulate.costs import spec_of
from swarmd.simulate.peers import DescribedPeers
from swarmd.simulate.settling import settled_for, workers_of

STEPS = 12
"""Steps that are simulated: after a few each is like the one before."""
_IDENTITY = re.compile(r"p\d{7}")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A plan, from either planner. The reasons are lines for people."""

    summary: str
    stages: tuple[PlannedStage, ...]
    reasons: tuple[str, ...]
    left_out: tuple[str, ...]


def answer(job: JobFile, base: Path, described: DescribedPeers, *, replicas: bool = False) -> dict[str, Any]:
    """What this job would do on these peers, with several to a stage if ``replicas``. Its paths start at ``base``.

    Raises:
        RunFailed: no plan fits; says what is short.
        NotFound, UsageError: the tokenizer or checkpoint cannot be used.
    """
    identities = [PeerId(f"p{number:07}") for number in range(len(described.peers))]
    known = dict(zip(identities, described.peers, strict=True))

    def round_trip(a: str, b: str) -> float:
        return described.round_trip(known[PeerId(a)], known[PeerId(b)])

    settled = settled_for(job, spec_of(job, base), known, round_trip, described.efficiency)
    spec = settled.spec
    workers = workers_of(known, job, spec, described.efficiency)

    def choose(model: ModelProfile) -> tuple[Chosen, ModelProfile]:
        if replicas:
            return _replicas(workers, model, job, round_trip), model
        return _chain(_teams(workers, spec), model, job), model

    chosen, model = in_memory(spec, choose)
    pipeline = pipeline_of(
        chosen.stages,
        model,
        micro_batches=spec.batch.micro_batches // spec.lanes,
        steps=_steps(spec, len(chosen.stages)),
        round_trip=round_trip,
        downlinks={identity: peer.downlink for identity, peer in known.items()},
        asynchronous=spec.schedule.asynchronous and not replicas,
    )

    def one_way(a: str, b: str) -> float:
        return round_trip(a, b) / 2

    outcome = simulate(pipeline, one_way)
    figures = _figures(spec, pipeline, outcome, bottleneck(pipeline, one_way, outcome))
    said = {"job": _job(settled, described), "plan": _plan(chosen, pipeline, outcome), **figures}
    names = {str(identity): peer.name for identity, peer in known.items()}
    return {key: _with_names(value, names) for key, value in said.items()}


def _teams(workers: list[WorkerProfile], spec: JobSpec) -> list[WorkerProfile]:
    """The peers; where replicas train apart, their teams, each as its slowest member."""
    return workers if spec.lanes == 1 else [as_one(team) for team in teams_of(workers, spec.lanes)]


def _chain(workers: list[WorkerProfile], model: ModelProfile, job: JobFile) -> Chosen:
    plan = partition(workers, model, min_stages=job.run.min_stages, max_stages=job.run.max_stages)
    by_peer = {worker.peer: worker for worker in workers}
    summary, *told = plan.reason.split("; ")
    return Chosen(
        summary,
        tuple(PlannedStage((by_peer[stage.peer],), stage.first, stage.end) for stage in plan.stages),
        tuple(stage.reason for stage in plan.stages),
        tuple(line for line in told if line.startswith("left out")),
    )


def _replicas(workers: list[WorkerProfile], model: ModelProfile, job: JobFile, round_trip: RoundTrip) -> Chosen:
    plan = plan_replicas(
        workers, model, min_stages=job.run.min_stages, max_stages=job.run.max_stages, round_trip=round_trip
    )
    by_peer = {worker.peer: worker for worker in workers}
    return Chosen(
        plan.summary,
        tuple(PlannedStage(tuple(by_peer[peer] for peer in each.peers), each.first, each.end) for each in plan.stages),
        tuple(stage.reason for stage in plan.stages),
        plan.left_out,
    )


def _steps(spec: JobSpec, stages: int) -> int:
    return max(1, min(STEPS, spec.schedule.steps, MAX_MESSAGES // (stages * spec.batch.micro_batches)))


def _job(settled: Settled, described: DescribedPeers) -> dict[str, Any]:
    spec = settled.spec
    return {
        "name": spec.name,
        "parameters": parameter_count(spec.model),
        "layers": spec.model.num_hidden_layers,
        "micro_batches": spec.batch.micro_batches,
        "micro_batch_size": spec.batch.micro_batch_size,
        "wire": settled.wire,
        "batch": settled.batch,
        "tokens_per_step": spec.batch.tokens_per_step,
        "efficiency": described.efficiency,
    }


def _plan(chosen: Chosen, pipeline: Pipeline, outcome: Outcome) -> dict[str, Any]:
    stages = [
        {
            "first": stage.first,
            "end": stage.end,
            "reason": reason,
            "peers": [
                {
                    "name": use.name,
                    "compute_seconds": node.compute,
                    "uplink_seconds": pipeline.uplink_seconds(number, node),
                    "credit": node.credit,
                    "computing": use.computing,
                    "sending": use.sending,
                    "held": use.held,
                    "micro_batches": use.micro_batches,
                }
                for node, use in zip(pipeline.stages[number], outcome.uses[number], strict=True)
            ],
        }
        for number, (stage, reason) in enumerate(zip(chosen.stages, chosen.reasons, strict=True))
    ]
    return {"summary": chosen.summary, "stages": stages, "left_out": list(chosen.left_out)}


def _figures(spec: JobSpec, pipeline: Pipeline, outcome: Outcome, found: Bottleneck) -> dict[str, Any]:
    step, tokens = outcome.step_seconds, spec.batch.tokens_per_step
    rest = (spec.schedule.steps - len(outcome.ends)) * step
    most = pipeline.period(slowest_stage(pipeline)) * pipeline.micro_batches
    return {
        "steps_simulated": len(outcome.ends),
        "step_seconds": step,
        "tokens_per_s": tokens / step,
        "bound_tokens_per_s": tokens / most,
        "ratio": min(1.0, found.ratio),
        "run_seconds": outcome.ends[-1] + rest,
        "bound": {"kind": found.bound.value, "stage": found.stage, "reason": found.reason},
    }


def _with_names(value: Any, names: dict[str, str]) -> Any:  # noqa: ANN401 - JSON of any shape
    """The same with peers by the names in the file; the planners know them by ids of one length."""
    if isinstance(value, str):
        return _IDENTITY.sub(lambda found: names.get(found[0], found[0]), value)
    if isinstance(value, dict):
        return {key: _with_names(each, names) for key, each in value.items()}
    return [_with_names(each, names) for each in value] if isinstance(value, list) else value
