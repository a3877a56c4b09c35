"""The lines of metrics.jsonl: one object a step, with the evaluation that followed it, if any."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from swarmd.protocols.spec import JobSpec
from swarmd.train.loop import EvalRow, Row, StepRow
from swarmd.train.optim import AdamW


def metrics_lines(rows: Iterable[Row]) -> str:
    """JSON lines in step order; step 0 is the untrained model's evaluation."""
    lines: dict[int, dict[str, Any]] = {}
    for row in rows:
        line = lines.setdefault(row.step, {"step": row.step})
        if isinstance(row, EvalRow):
            line["eval_loss"] = row.loss
        else:
            line |= {"loss": row.loss, "lr": row.lr, "grad_norm": row.grad_norm}
    return "".join(json.dumps(lines[step]) + "\n" for step in sorted(lines))


def rows_of(lines: str, spec: JobSpec) -> Iterator[Row]:
    """The rows that a coordinator kept, which lack the learning rate: it follows from the spec."""
    optimizer = AdamW(spec)
    for line in lines.splitlines():
        kept = json.loads(line)
        if "loss" in kept:
            yield StepRow(kept["step"], kept["loss"], optimizer.rate(kept["step"]), kept["grad_norm"])
        if "eval_loss" in kept:
            yield EvalRow(kept["step"], kept["eval_loss"])
