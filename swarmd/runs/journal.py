"""Runs on disk: what a restarted daemon must know to show them, and to go on from their checkpoints."""

from __future__ import annotations

from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import trio

from swarmd.blobs import BlobStore
from swarmd.protocols.budget import Budget
from swarmd.protocols.checkpoint import Checkpoint, parse_checkpoint
from swarmd.protocols.control import FINAL_STATES
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.spec import parse_spec
from swarmd.protocols.statements import open_run
from swarmd.runs.blob_exchange import Grant
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import KeptCheckpoint, RunRecord, StepRow, checkpoint_blobs, spec_blobs
from swarmd.runs.spending import spending_of
from swarmd.runs.view import decided_state
from swarmd.storage import MetricRow, StoredRun

ASKED = tuple(each.name for each in fields(RunTable))
INTERRUPTED = "the daemon ended while the run was going"


async def save_record(record: RunRecord, deps: RunDeps) -> None:
    """Write a run's state and evaluations; its step rows are queued as they come."""
    state, code, reason = decided_state(record)
    checkpoint = record.checkpoint
    await deps.storage.save_run(
        StoredRun(
            id=record.run,
            spec_id=record.spec.spec_id,
            spec=record.spec.to_bytes(),
            signed=record.signed,
            name=record.name,
            state=state,
            reason=reason,
            term=record.term,
            step=record.step,
            created=record.created,
            directory=str(record.directory),
            extra=_extra(record, code),
        )
    )
    record.durable = checkpoint[0] if checkpoint else None
    scores = [MetricRow(step=step, held_out=loss) for step, loss in record.evals.items()]
    await deps.storage.append_metrics(record.run, scores)


async def load_records(deps: RunDeps) -> dict[Any, RunRecord]:
    """Every run this node has coordinated. One that was going when the daemon ended has failed."""
    records = [await _load(stored, deps) for stored in await deps.storage.runs()]
    return {record.run: record for record in records}


async def _load(stored: StoredRun, deps: RunDeps) -> RunRecord:
    spec = parse_spec(stored.spec)
    extra = stored.extra
    record = RunRecord(
        run=stored.id,
        name=stored.name,
        spec=spec,
        statement=open_run(stored.signed, deps.network.id),
        signed=stored.signed,
        directory=Path(stored.directory),
        created=stored.created,
        asked=RunTable(**{name: extra[name] for name in ASKED if name in extra}),
        grant=Grant(deps.blobs, blobs=spec_blobs(spec)),
        budget=Budget(**extra.get("budget", {})),
        term=stored.term,
        trained_before=extra["trained"],
        checkpoint=(extra["checkpoint"][0], BlobHash(extra["checkpoint"][1])) if extra["checkpoint"] else None,
        weights_sha256=extra["weights_sha256"],
    )
    record.durable = record.checkpoint[0] if record.checkpoint else None
    record.interrupted = stored.state not in FINAL_STATES
    record.remembered = _remembered(stored, goes_on=record.asked.restarts > 0)
    record.spending = await spending_of(record, deps.jobs)
    if record.checkpoint is not None and deps.blobs.has(record.checkpoint[1]):
        record.kept = [await trio.to_thread.run_sync(_kept, record.checkpoint, deps.blobs)]
    for row in await deps.storage.metrics(stored.id):
        if row.loss is not None:
            record.rows[row.step] = StepRow(row.step, row.loss, row.grad_norm or 0.0, row.time or 0.0)
        if row.held_out is not None:
            record.evals[row.step] = row.held_out
    if stored.state not in FINAL_STATES:  # what came after the last checkpoint is lost with the stages
        record.forget_after(record.checkpoint[0] if record.checkpoint else 0)
    return record


async def newest_manifest(record: RunRecord, deps: RunDeps) -> Checkpoint | None:
    """Of the newest whole checkpoint. Raises StateError or NotFound if our disk has lost it."""
    if record.checkpoint is None:
        return None
    return parse_checkpoint(await trio.to_thread.run_sync(deps.blobs.get, record.checkpoint[1]))


def _kept(checkpoint: tuple[int, BlobHash], blobs: BlobStore) -> KeptCheckpoint:
    step, name = checkpoint
    return KeptCheckpoint(step, name, frozenset(checkpoint_blobs(parse_checkpoint(blobs.get(name)))))


def _remembered(stored: StoredRun, *, goes_on: bool) -> tuple[str, str, str]:
    if stored.state in FINAL_STATES:
        return stored.state, stored.extra["code"], stored.reason
    return ("recovering", "", INTERRUPTED) if goes_on else ("failed", RunFailed.code, INTERRUPTED)


def _extra(record: RunRecord, code: str) -> dict[str, Any]:
    running = record.began is not None and record.ended is not None
    trained = record.trained_before + (record.ended - record.began if running and record.ended and record.began else 0)
    return {
        "code": code,
        **asdict(record.asked),
        "budget": asdict(record.budget),
        "trained": trained,
        "checkpoint": record.checkpoint,
        "weights_sha256": record.weights_sha256,
    }
