"""Whether to take a job here, and what a stage must fetch before it can be built."""

from __future__ import annotations

import trio

from swarmd.blobs import BlobStore
from swarmd.protocols.checkpoint import EMBED, HEAD, Checkpoint, layer_unit, parse_checkpoint
from swarmd.protocols.footprint import stage_memory
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.messages import Plan, RunStatement
from swarmd.protocols.spec import JobSpec
from swarmd.runs.blob_exchange import fetch_blob
from swarmd.runs.deps import RunDeps


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


def least_memory(spec: JobSpec) -> int:
    """Bytes of the smallest stage of this spec: one layer in the middle."""
    layers = spec.model.num_hidden_layers
    middle = layers // 2
    return stage_memory(spec, middle, middle + 1, 1)


def decide(statement: RunStatement, spec: JobSpec, deps: RunDeps) -> int:
    """Bytes to keep for this run. Raises Refused with the reason, and what would change it."""
    return least_memory(spec)
