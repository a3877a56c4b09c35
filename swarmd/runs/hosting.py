"""Whether to take a job here, and what a stage must fetch before it can be built."""

from __future__ import annotations

from collections import Counter

import trio

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import EMBED, HEAD, Checkpoint, layer_unit, parse_checkpoint
from swarmd.protocols.errors import Refused
from swarmd.protocols.footprint import parameter_count, stage_memory
from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.messages import Plan, RunStatement
from swarmd.protocols.spec import JobSpec
from swarmd.runs.blob_exchange import fetch_blob
from swarmd.runs.deps import RunDeps
from swarmd.runs.leases import Room
from swarmd.scheduler.admission import Accepts, Load, Policy, Request, admit


def stage_blobs(spec: JobSpec, first: int, end: int) -> tuple[BlobHash, ...]:
    """Token shards that a stage reads: inputs at the first, targets at the last, none between."""
    if first > 0 and end < spec.model.num_hidden_layers:
        return ()
    return tuple(dict.fromkeys(shard.blob for shard in (*spec.data.train, *spec.data.held_out)))


def unit_blobs(checkpoint: Checkpoint, spec: JobSpec, first: int, end: int) -> tuple[BlobHash, ...]:
    """A checkpoint's blobs that a stage starts from: its own units', and no more."""
    units = [layer_unit(layer) for layer in range(first, end)]
    units += [EMBED] if first == 0 else []
    units += [HEAD] if end == spec.model.num_hidden_layers else []
    states = [checkpoint.unit(unit) for unit in units]
    return tuple(blob for state in states for blob in (state.weights, state.optimizer) if blob is not None)


async def needed_blobs(
    deps: RunDeps, statement: RunStatement, spec: JobSpec, plan: Plan, stage: int, store: BlobStore
) -> None:
    """Bring all that a stage needs from the coordinator. Raises RemoteError."""
    here = plan.stages[stage]

    async def fetch(blob: BlobHash) -> None:
        await fetch_blob(deps.transport, deps.grants, statement.submitter, plan.run, blob, store)

    for blob in stage_blobs(spec, here.first, here.end):
        await fetch(blob)
    start = plan.checkpoint or spec.model.weights
    if start is not None:
        await fetch(start)
        checkpoint = parse_checkpoint(await trio.to_thread.run_sync(store.get, start))
        for blob in unit_blobs(checkpoint, spec, here.first, here.end):
            await fetch(blob)


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
        disk_bytes=_disk(spec),
    )
    decision = admit(request, _policy(deps), _load(deps))
    if not decision.accepted:
        raise Refused(decision.reason)
    return Room(request.memory_bytes, request.disk_bytes)


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
    """Bytes of the smallest stage of this spec: one layer in the middle, one micro-batch held."""
    middle = spec.model.num_hidden_layers // 2
    return stage_memory(spec, middle, middle + 1, 1)


def _disk(spec: JobSpec) -> int:
    """Bytes of files a stage may keep at once: the shards, and two checkpoints of every unit."""
    tokens = spec.data.train_tokens + spec.data.held_out_tokens
    return tokens * (2 if spec.data.dtype == "u16" else 4) + 2 * 12 * parameter_count(spec.model)
