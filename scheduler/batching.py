"""How the sequences of a step are cut into micro-batches, for a job that leaves it to the swarm.

Many small micro-batches keep a pipeline full over links with delays; each costs something whatever its size. What
both come to is reckoned before the spec id exists, from what peers declare: a few of the possible sizes are planned and
simulated as they would run. The smallest is taken whose step is almost as short as the shortest: small ones need less
memory, and still fill the pipeline if it becomes longer than foreseen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.dataorder import windows
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.bottleneck import slowest_stage
from swarmd.scheduler.nearness import RoundTrip
from swarmd.scheduler.partition import Partition, partition
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile, model_profile
from swarmd.scheduler.scenario import PlannedStage, pipeline_of
from swarmd.scheduler.simulate import simulate
from swarmd.scheduler.simulated import Pipeline

LAYER_SECONDS = 0.00075
"""What a layer costs a micro-batch however few its numbers: the calls, there and back. Measured on a CPU."""
PARAMETER_TOKENS = 64
"""What goes by parameters, such as adding up gradients, takes as long as so many tokens. Measured on a CPU."""
NEAR = 1.05
"""A step that takes at most so many times the shortest is as good."""
FULL = 0.8
"""Below this share of its time at work, a pipeline is said to want more sequences."""
SIMULATED = 256
"""Micro-batches of a step that are simulated; further ones take as long as the later half of these."""
_SYNCHRONOUS_STEPS, _ASYNCHRONOUS_STEPS = 2, 4


@dataclass(frozen=True, slots=True)
class Swarm:
    """The peers that may take part, and the links between them."""

    workers: tuple[WorkerProfile, ...]
    """Seconds are those of computing one sequence."""
    round_trip: RoundTrip
    downlinks: Mapping[PeerId, float] = field(default_factory=dict[PeerId, float])
    """Bytes a second; unlimited for peers it lacks."""


@dataclass(frozen=True, slots=True)
class BatchChoice:
    """``size`` sequences to a micro-batch, ``count`` micro-batches to a step, and why."""

    size: int
    count: int
    reason: str


@dataclass(frozen=True, slots=True)
class _Trial:
    size: int
    stages: int
    seconds: float
    """Of a step."""
    full: float
    """Share of it that the slowest stage works."""


ALONE = Swarm(
    (
        WorkerProfile(
            peer=PeerId("alone"), seconds_per_layer=1.0, seconds_embed=0, seconds_head=0, memory_bytes=1 << 62
        ),
    ),
    lambda _, __: 0.0,
)
"""One process with all memory, so slow that calls cost nothing: the plain loop, wherever it runs."""
NOBODY = Swarm((), lambda _, __: 0.0)
_ANY = RunTable(min_stages=1, max_stages=None)
_ALONE_WORDS = f"the smallest within {NEAR - 1:.0%} of the fastest, in one process"


def choose_batch(spec: JobSpec, table: BatchTable, run: RunTable, swarm: Swarm) -> BatchChoice:
    """The size and number of micro-batches of a job whose table is open; its spec has the wire already.

    Never fails: where no pipeline of these peers holds the job, the cut is that of the plain loop, and the reason
    says what is short.
    """
    tried = [_tried(table.applied(spec, size), run, swarm) for size in candidates(spec, table) if swarm.workers]
    trials = [trial for trial in tried if isinstance(trial, _Trial)]
    if trials:
        best = _smallest_good(trials)
        return _choice(table, best.size, _why(best, trials))
    alone = [_tried(table.applied(spec, size), _ANY, ALONE) for size in candidates(spec, table)]
    size = _smallest_good([trial for trial in alone if isinstance(trial, _Trial)]).size
    problem = next((problem for problem in tried if isinstance(problem, RunFailed)), None)
    return _choice(table, size, _why_none(spec, table, run, swarm, problem) if problem else _ALONE_WORDS)


def cut_alone(spec: JobSpec, table: BatchTable) -> JobSpec:
    """The spec as one process trains it, where its table is open; else as it is."""
    if not table.open:
        return spec
    return table.applied(spec, choose_batch(spec, table, _ANY, NOBODY).size)


def candidates(spec: JobSpec, table: BatchTable) -> tuple[int, ...]:
    """The sizes that are tried: at most one for each power of two, the smallest from there on, as far as the
    held-out data, where they are known, have windows for an evaluation in them. At least the smallest of all."""
    held_out = windows(spec.data.held_out_tokens, table.sequence_length)
    allowed = [size for size in table.sizes() if not spec.data.held_out or table.windows(size) <= held_out]
    powers = (1 << power for power in range(13))
    found = {next((size for size in allowed if size >= power), 0) for power in powers} - {0}
    return tuple(sorted(found)) or table.sizes()[:1]


def for_one_sequence(spec: JobSpec) -> JobSpec:
    """The spec whose micro-batches are of one sequence, which the times of a ``Swarm`` are of."""
    return replace(spec, batch=replace(spec.batch, micro_batch_size=1))


def batch_words(spec: JobSpec) -> str:
    """How a spec's steps are cut, for people."""
    size, count = spec.batch.micro_batch_size, spec.batch.micro_batches
    return f"{_counted(size * count, 'sequence')} a step: {_counted(count, 'micro-batch', 'es')} of {size}"


def _choice(table: BatchTable, size: int, reason: str) -> BatchChoice:
    return BatchChoice(size, table.cut(size).micro_batches, reason)


def _smallest_good(trials: Sequence[_Trial]) -> _Trial:
    best = min(trial.seconds for trial in trials)
    return next(trial for trial in trials if trial.seconds <= NEAR * best)


def _tried(spec: JobSpec, run: RunTable, swarm: Swarm) -> _Trial | RunFailed:
    """What a step would take, or why no pipeline of these peers holds the job."""
    model, workers = model_profile(spec), _workers(swarm, spec)
    try:
        plan = partition(workers, model, min_stages=run.min_stages, max_stages=run.max_stages)
    except RunFailed as error:
        return error
    count, pipeline = spec.batch.micro_batches, _pipeline(spec, model, plan, replace(swarm, workers=workers))
    seconds = _step_seconds(pipeline, swarm.round_trip)
    if count > SIMULATED:
        half = _step_seconds(replace(pipeline, micro_batches=SIMULATED // 2), swarm.round_trip)
        seconds += (count - SIMULATED) * (seconds - half) / (SIMULATED - SIMULATED // 2)
    full = count * pipeline.period(slowest_stage(pipeline)) / seconds
    return _Trial(spec.batch.micro_batch_size, len(plan.stages), seconds, min(1.0, full))


def _step_seconds(pipeline: Pipeline, round_trip: RoundTrip) -> float:
    return simulate(pipeline, lambda a, b: round_trip(PeerId(a), PeerId(b)) / 2).step_seconds


def _pipeline(spec: JobSpec, model: ModelProfile, plan: Partition, swarm: Swarm) -> Pipeline:
    by_peer, asynchronous = {worker.peer: worker for worker in swarm.workers}, spec.schedule.asynchronous
    return pipeline_of(
        [PlannedStage((by_peer[stage.peer],), stage.first, stage.end) for stage in plan.stages],
        model,
        micro_batches=min(spec.batch.micro_batches, SIMULATED),
        steps=_ASYNCHRONOUS_STEPS if asynchronous else _SYNCHRONOUS_STEPS,
        round_trip=swarm.round_trip,
        downlinks=swarm.downlinks,
        asynchronous=asynchronous,
    )


def _workers(swarm: Swarm, spec: JobSpec) -> tuple[WorkerProfile, ...]:
    """What a micro-batch costs each peer: its sequences, and what does not go by them."""
    batch = spec.batch
    times = batch.micro_batch_size + PARAMETER_TOKENS / batch.sequence_length
    return tuple(
        replace(
            worker,
            seconds_per_layer=LAYER_SECONDS + times * worker.seconds_per_layer,
            seconds_embed=times * worker.seconds_embed,
            seconds_head=times * worker.seconds_head,
        )
        for worker in swarm.workers
    )


def _why(best: _Trial, trials: Sequence[_Trial]) -> str:
    stages = _counted(best.stages, "stage")
    words = f"{stages} would take {_seconds(best.seconds)} a step, {best.full:.0%} of it at work"
    others = [trials[at] for at in (0, -1) if trials[at] is not best]
    if others:
        words += "; " + ", ".join(f"{_seconds(each.seconds)} in micro-batches of {each.size}" for each in others)
    if best.full < FULL:
        words += "; more sequences a step would fill the pipeline better"
    return words


def _why_none(spec: JobSpec, table: BatchTable, run: RunTable, swarm: Swarm, problem: RunFailed) -> str:
    """What is short; and how many sequences would fit, where fewer do."""
    fewer = (table.sequences or 1) // 2
    while fewer:
        small = BatchTable(sequence_length=table.sequence_length, micro_batch_size=1, micro_batches=fewer)
        if isinstance(_tried(small.applied(spec, 1), run, swarm), _Trial):
            return f"no pipeline of these peers holds so many sequences; sequences = {fewer} would fit"
        fewer //= 2
    return f"no plan fits yet: {problem.message}; {problem.hint}"


def _counted(number: int, word: str, plural: str = "s") -> str:
    return f"{number:,} {word}{plural * (number > 1)}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.3g} s" if seconds < 100 else f"{seconds:,.0f} s"
