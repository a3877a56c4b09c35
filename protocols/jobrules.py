"""Settings of a job file that contradict one another, beyond what any spec must obey."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from swarmd.protocols.averagingrules import averaging_faults
from swarmd.protocols.batchtable import cut_faults
from swarmd.protocols.codecs import RAW
from swarmd.protocols.jobschema import FLOW_ASYNC, FLOW_SYNC
from swarmd.protocols.jobtables import AUTO, DataTable, JobFile, RunTable, WireTable
from swarmd.protocols.spec import WireSpec
from swarmd.protocols.specrules import (
    BYTE_VOCABULARY,
    Fault,
    async_faults,
    batch_faults,
    context_faults,
    model_faults,
    schedule_faults,
)
from swarmd.protocols.subspacerules import subspace_faults
from swarmd.protocols.wirerules import boundary_faults, group_count, wire_faults

FROM_CHECKPOINT = (
    "vocab",
    "layers",
    "hidden",
    "heads",
    "kv_heads",
    "feed_forward",
    "context",
    "norm_eps",
    "rope_theta",
    "init_std",
)
SOURCES = ("data.text", "data.jsonl", "data.embedded")


def job_faults(job: JobFile, present: frozenset[str]) -> Iterator[Fault]:
    """Settings that contradict one another. ``present``: the names that stand in the file."""
    yield from chain(_source_faults(job.data, present), _tokenizer_faults(job, present))
    batch = job.batch.cut()
    yield from chain(cut_faults(job.batch), batch_faults(batch), schedule_faults(job.schedule, job.optimizer, batch))
    yield from chain(async_faults(job.schedule, job.optimizer), _mode_faults(job, present), _replica_faults(job))
    yield from chain(averaging_faults(job.averaging, batch, job.schedule, job.numerics), _averaging_faults(job))
    if job.model.checkpoint is not None:
        yield from _checkpoint_faults(job, present)
        yield from stage_faults(job.run, None)
        if job.wire.codec == RAW:
            yield from _wire_faults(job.wire, 2)
    else:
        model = job.model.resolved(BYTE_VOCABULARY)
        yield from chain(model_faults(model), subspace_faults(model, job.numerics), context_faults(model, batch))
        yield from _wire_faults(job.wire, job.model.layers)
        wire = job.wire.resolved(job.model.layers)
        yield from stage_faults(job.run, job.model.layers, wire)


def stage_faults(run: RunTable, layers: int | None, wire: WireSpec | None = None) -> Iterator[Fault]:
    """More stages than layers, or than the wire has room for, or a least above the most.

    ``layers`` is None while it is not known.
    """
    least, most = run.min_stages, run.max_stages
    both = ("run.min_stages", "run.max_stages")
    if most is not None and least > most:
        yield Fault(both[0], least, f"is over max_stages ({most}); use at most {most}", both)
    for name, stages in zip(both, (least, most), strict=True):
        if stages is not None and layers is not None and stages > layers:
            problem = f"a stage holds at least one of the {layers} layers; use at most {layers}"
            yield Fault(name, stages, problem, (name, "model.layers"))
        elif stages is not None and layers is not None and wire is not None and stages > group_count(wire, layers):
            most_stages = group_count(wire, layers)
            problem = f"the wire's boundaries make {most_stages} groups of layers; use at most {most_stages}"
            yield Fault(name, stages, problem, (name, "wire.boundaries"))


def _wire_faults(wire: WireTable, layers: int) -> Iterator[Fault]:
    if wire.codec != AUTO:
        yield from wire_faults(wire.resolved(layers), layers)
    elif wire.boundaries is not None and layers > 1:
        yield from boundary_faults(wire.boundaries, layers)


def _mode_faults(job: JobFile, present: frozenset[str]) -> Iterator[Fault]:
    mode, after = "schedule.mode", "schedule.async_after"
    if after in present and not job.schedule.asynchronous:
        yield Fault(mode, FLOW_SYNC, f'has no async_after; remove that, or use mode = "{FLOW_ASYNC}"', (mode, after))


def _replica_faults(job: JobFile) -> Iterator[Fault]:
    name, replicas = "run.replicas", job.run.replicas
    if replicas > 1 and job.numerics.sum != "exact":
        problem = 'needs sum = "exact": in another order, replicas would give other bits; use 1'
        yield Fault(name, replicas, problem, (name, "numerics.sum"))
    if replicas > 1 and job.schedule.asynchronous:
        problem = f'needs steps that are not stale; use 1, or mode = "{FLOW_SYNC}"'
        yield Fault(name, replicas, problem, (name, "schedule.mode"))


def _averaging_faults(job: JobFile) -> Iterator[Fault]:
    name, both = "run.replicas", ("run.replicas", "averaging.replicas")
    if job.run.replicas > 1 and job.averaging.replicas > 1:
        problem = "replicas add their sums in every step, or train apart: not both; use 1"
        yield Fault(name, job.run.replicas, problem, both)
    if job.averaging.replicas > 1 and job.batch.open and job.batch.sequences is not None:
        problem = "is not cut for replicas that train apart; give micro_batch_size and micro_batches"
        yield Fault("batch.sequences", job.batch.sequences, problem, ("batch.sequences", "averaging.replicas"))


def _source_faults(data: DataTable, present: frozenset[str]) -> Iterator[Fault]:
    named = [name for name in SOURCES if name in present]
    sources = [name for name in named if name != "data.embedded" or data.embedded]
    if not sources and "data.embedded" in (named or ["data.embedded"]):
        problem = 'names no text; give text = "FILE", jsonl = "FILE" or embedded = true'
        yield Fault("data", None, problem, tuple(named))
    for name in sources[1:]:
        first = sources[0].removeprefix("data.")
        value = getattr(data, name.removeprefix("data."))
        yield Fault(name, value, f"a second source beside {first}; keep one of them", (name,))
    if "data.field" in present and "data.jsonl" not in present:
        yield Fault("data.field", data.field, "only jsonl has fields; remove it", ("data.field",))


def _tokenizer_faults(job: JobFile, present: frozenset[str]) -> Iterator[Fault]:
    kind, file, vocab = job.tokenizer.kind, job.tokenizer.file, job.model.vocab
    both = ("tokenizer.kind", "tokenizer.file")
    if kind == "file" and "tokenizer.file" not in present:
        yield Fault(both[0], kind, 'names no file; add file = "tokenizer.json"', both)
    if kind == "bytes" and file is not None:
        yield Fault(both[1], file, 'kind = "bytes" reads no file; remove one of them', both)
    if kind == "bytes" and vocab is not None and vocab < BYTE_VOCABULARY and job.model.checkpoint is None:
        problem = f"bytes need at least {BYTE_VOCABULARY}; remove it"
        yield Fault("model.vocab", vocab, problem, (*both, "model.vocab"))


def _checkpoint_faults(job: JobFile, present: frozenset[str]) -> Iterator[Fault]:
    for key in FROM_CHECKPOINT:
        name = f"model.{key}"
        if name in present:
            value = getattr(job.model, key)
            shown = float(value) if isinstance(value, str) else value
            yield Fault(name, shown, "the checkpoint decides this; remove it", (name,))
    if job.model.subspace:
        problem = "a checkpoint has full rank; remove it, or remove checkpoint and train from seeded weights"
        yield Fault("model.subspace", job.model.subspace, problem, ("model.subspace",))
