"""Whether to take a job here, and what a stage must fetch before it can be built."""

from __future__ import annotations

from collections import Counter

import trio

from swarmd.blobs import BlobStore
from swarmd.compute.layout import layout_of
from swarmd.protocols.checkpoint import MAX_CHECKPOINT_BYTES, Checkpoint, parse_checkpoint
from swarmd.protocols.errors import ProtocolViolation, Refused
from swarmd.protocols.footprint import most_held, stage_memory
from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, RunStatement, StageAssignment
from swarmd.runs.blob_exchange import fetch_blob
from swarmd.runs.deps import RunDeps
from swarmd.runs.leases import Lease, Room
from swarmd.runs.sizes import Sized, disk_bytes, shard_sizes, unit_names_of, unit_sizes
from swarmd.scheduler.admission import Accepts, Load, Policy, Request, admit
from swarmd.scheduler.explain import size
from swarmd.scheduler.fitting import Fit, fitted, least_needed, thrift


def stage_blobs(spec: JobSpec, first: int, end: int) -> tuple[Sized, ...]:
    """Token shards that a stage reads: inputs at the first, targets at the last, none between."""
    if first > 0 and end < spec.model.num_hidden_layers:
        return ()
    return shard_sizes(spec)


def unit_blobs(checkpoint: Checkpoint, spec: JobSpec, first: int, end: int) -> tuple[Sized, ...]:
    """A checkpoint's blobs that a stage starts from: its own units', and no more. Raises ProtocolViolation."""
    if checkpoint.layers != spec.model.num_hidden_layers:
        raise ProtocolViolation(f"a checkpoint of {checkpoint.layers} layers is not of this run's model")
    states = [checkpoint.unit(unit) for unit in unit_names_of(spec.model, first, end)]
    return tuple(sized for state in states for sized in unit_sizes(spec, state))


async def needed_blobs(
    deps: RunDeps, statement: RunStatement, spec: JobSpec, plan: Plan, stage: int, store: BlobStore
) -> None:
    """Bring all that a stage needs from the coordinator. Raises RemoteError."""
    here = plan.stages[stage]

    async def fetch(blob: BlobHash, most: int) -> None:
        await fetch_blob(deps.routes, deps.grants, statement.submitter, plan.run, blob, store, most)

    for blob, most in stage_blobs(spec, here.first, here.end):
        await fetch(blob, most)
    start = plan.checkpoint or spec.model.weights
    if start is not None:
        await fetch(start, MAX_CHECKPOINT_BYTES)
        checkpoint = parse_checkpoint(await trio.to_thread.run_sync(store.get, start))
        for blob, most in unit_blobs(checkpoint, spec, here.first, here.end):
            await fetch(blob, most)


def free_memory(deps: RunDeps, lease: Lease) -> int:
    """Bytes that this lease may use: what the owner lends, less what the others were promised."""
    others = sum(each.room.memory for each in deps.leases.held.values() if each is not lease)
    return max(0, deps.device.memory_limit() - others)


def make_room(
    deps: RunDeps, lease: Lease, spec: JobSpec, stage: StageAssignment, index: int, *, keeps: bool = False
) -> Fit:
    """Keep free what the ``index``-th stage needs, now that it is known; how it is run in that.

    ``keeps``: with the version before the newest one.

    There is room for the micro-batches of its credit, and more, where memory is free, for a credit that turns out
    too small and for weight gradients that are put off (``swarmd.train.pace``). Where memory is short it has less
    credit, or recomputes activations.

    Raises Refused when not even one micro-batch at a time fits.
    """
    free, credit, layout = free_memory(deps, lease), min(stage.credit, most_held(spec)), layout_of(spec)
    shared = stage.service > 0 and spec.lanes == 1

    def needs(held: int, recompute: bool) -> int:
        memory = stage_memory(spec, stage.first, stage.end, held, recompute=recompute, shared=shared, keeps=keeps)
        return memory + (layout.total_bytes if stage.service else layout.frame_bytes)

    fit = fitted(needs, credit=credit, room=_useful_room(spec, stage, index), free=free)
    if fit is None:
        raise Refused(
            f"layers {stage.first} to {stage.end - 1} need {size(least_needed(needs))} of memory for one micro-batch "
            f"at a time, and {size(free)} are free"
        )
    lease.room = Room(fit.needed, lease.room.disk)
    if words := thrift(fit, credit=credit, free=free):
        deps.events.warning(words, run=lease.run)
    return fit


def _useful_room(spec: JobSpec, stage: StageAssignment, index: int) -> int:
    """Twice the planned credit; behind the first stage, a deferral that fills a fast link's wait and some more."""
    most = most_held(spec)
    return max(min(most, 2 * stage.credit), 2 * min(most, 3 * index + stage.credit) if index else 0)


def refuse_stranger(submitter: PeerId, deps: RunDeps) -> None:
    """Raises Refused for a submitter whose jobs are not taken here, however small they are."""
    nothing = Request(submitter=submitter, layers=0, sequence_length=0, vocabulary=0, memory_bytes=0, disk_bytes=0)
    _admit(nothing, deps)


def decide(statement: RunStatement, spec: JobSpec, deps: RunDeps) -> Room:
    """What to keep free for this run. Raises Refused with the reason, and what would change it."""
    if statement.run in deps.leases.held:
        raise Refused("this node holds a stage of that run already", hint="wait until its lease has ended")
    request = Request(
        submitter=statement.submitter,
        layers=spec.model.num_hidden_layers,
        sequence_length=spec.batch.sequence_length,
        vocabulary=spec.model.vocab_size,
        memory_bytes=_least_memory(spec),
        disk_bytes=disk_bytes(spec),
    )
    _admit(request, deps)
    return Room(request.memory_bytes, request.disk_bytes)


def _admit(request: Request, deps: RunDeps) -> None:
    decision = admit(request, _policy(deps), _load(deps))
    if not decision.accepted:
        raise Refused(decision.reason)


def _policy(deps: RunDeps) -> Policy:
    config = deps.config
    return Policy(
        own=deps.identity.peer,
        accepts=Accepts(config.accept),
        allow=frozenset(map(PeerId, config.allow)),
        max_stages=config.max_stages,
        max_stages_per_submitter=config.max_stages_per_submitter,
        memory_bytes=deps.device.memory_limit(),
        disk_bytes=config.disk_quota,
    )


def _load(deps: RunDeps) -> Load:
    held = deps.leases.held.values()
    return Load(
        numerics=deps.device.view.numerics if deps.device.view else "",
        stages=Counter(lease.submitter for lease in held),
        memory_bytes=sum(lease.room.memory for lease in held),
        disk_bytes=sum(lease.room.disk for lease in held),
    )


def _least_memory(spec: JobSpec) -> int:
    """Bytes that timing the job takes here: one layer with the embedding, alone, or with the head."""
    layers = spec.model.num_hidden_layers
    each = (stage_memory(spec, layer, layer + 1, 1) for layer in {0, layers // 2, layers - 1})
    return max(each) + layout_of(spec).frame_bytes
