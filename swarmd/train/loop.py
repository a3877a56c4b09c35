"""The plain training loop: one process, one thread of control, no pipeline.

This is the definition of what a swarm computes. A run over any number of stages ends with the bits that
``train`` gives, and the tests compare the two. In ``flow-async`` the gradient of a stale step is taken with the weights
before the newest. With ``[averaging]`` there are several copies of the weights, which train apart and are averaged now
and then (``swarmd.train.outer``); evaluations look at the first.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swarmd.blobs import BlobStore
from swarmd.gpu.devices import resolve
from swarmd.protocols.checkpoint import Checkpoint
from swarmd.protocols.rounds import over_lanes
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Unit, open_units
from swarmd.train.determinism import deterministic
from swarmd.train.evaluate import Batches, evaluation_due, held_out_loss
from swarmd.train.lanes import Averager, Lane, copied
from swarmd.train.optim import AdamW
from swarmd.train.units import stage_units


@dataclass(frozen=True, slots=True)
class StepRow:
    """One optimizer step."""

    step: int
    loss: float
    """Mean over the step's tokens, in nats."""
    lr: float
    grad_norm: float
    """Of all gradients together, before clipping."""


@dataclass(frozen=True, slots=True)
class EvalRow:
    """One evaluation."""

    step: int
    loss: float
    """Mean over the held-out tokens, in nats."""


Row = StepRow | EvalRow


@dataclass(frozen=True, slots=True)
class Trained:
    """What a run leaves."""

    units: dict[str, Unit]
    rows: tuple[Row, ...]


def train(
    spec: JobSpec,
    data: Batches,
    *,
    on_row: Callable[[Row], None] = lambda row: None,
    resume: Checkpoint | None = None,
    blobs: BlobStore | None = None,
    device: str = "cpu",
) -> Trained:
    """Train to the last step, from the spec's beginning or from a checkpoint in ``blobs``.

    Raises RunFailed when a gradient is not finite or too large, ProtocolViolation for a damaged checkpoint.
    """
    deterministic(spec)
    place = resolve(device)
    names = stage_units(spec.model, 0, spec.model.num_hidden_layers)
    units = open_units(spec, names, resume, blobs.get if blobs else None, place)
    start = 0 if resume is None else resume.step
    lanes = [Lane(spec, copied(units) if number else units, start, number, place) for number in range(spec.lanes)]
    weights, optimizer, averager = lanes[0].weights, AdamW(spec), Averager(spec, lanes)
    rows: list[Row] = []

    def record(row: Row) -> None:
        rows.append(row)
        on_row(row)

    if resume is None and evaluation_due(spec.schedule, 0):
        record(EvalRow(0, held_out_loss(weights.newest, data, place)))
    for step in range(weights.version + 1, spec.schedule.steps + 1):
        steps = [lane.step(step, data) for lane in lanes]
        losses, squares = zip(*steps, strict=True)
        loss, norm = over_lanes(losses, (square for each in squares for square in each))
        averager.stepped(step)
        record(StepRow(step, loss, optimizer.rate(step), norm))
        if evaluation_due(spec.schedule, step):
            record(EvalRow(step, held_out_loss(weights.newest, data, place)))
    return Trained(weights.units, tuple(rows))
