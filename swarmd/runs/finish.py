"""The end of a run: every stage's weights are gathered and checked; a process writes the model."""

from __future__ import annotations

import json

import trio

from swarmd.children import run_child
from swarmd.protocols.errors import RunFailed
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import RunRecord


async def write_result(record: RunRecord, deps: RunDeps) -> None:
    """Write model, tokenizer, metrics and evaluation into the run's folder.

    Raises:
        RunFailed: the last step's checkpoint is not whole.
        StateError: the disk will not take it.
    """
    if record.checkpoint is None or record.checkpoint[0] != record.spec.schedule.steps:
        raise RunFailed("the last step's weights are not all here")
    folder = trio.Path(record.directory)
    await folder.mkdir(parents=True, exist_ok=True)
    spec, metrics = folder / "spec.bin", folder / "metrics.jsonl"
    await spec.write_bytes(record.spec.to_bytes())
    await metrics.write_text(metrics_lines(record))
    result = await run_child(
        "train", "assemble",
        "--spec", str(spec), "--blobs", str(deps.blobs.root), "--checkpoint", record.checkpoint[1],
        "--metrics", str(metrics), "--out", str(folder / "model"),
    )  # fmt: skip
    record.weights_sha256 = str(result["weights_sha256"])


def metrics_lines(record: RunRecord) -> str:
    """One JSON object a step, and one an evaluation, in order."""
    lines = [
        {"step": row.step, "loss": row.loss, "grad_norm": row.grad_norm}
        | ({"eval_loss": record.evals[row.step]} if row.step in record.evals else {})
        for row in sorted(record.rows.values(), key=lambda row: row.step)
    ]
    if 0 in record.evals:
        lines.insert(0, {"step": 0, "eval_loss": record.evals[0]})
    return "".join(json.dumps(line) + "\n" for line in lines)
