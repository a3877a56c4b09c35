"""The plain training loop: one process, one thread of control, no pipeline.

This is the definition of what a swarm computes. A run over any number of stages ends with the bits that
``train`` gives, and the tests compare the two. In ``flow-async`` the gradient of a stale step is taken with the weights
before the newest.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch

from swarmd.blobs import BlobStore
from swarmd.gpu.devices import resolve
from swarmd.protocols.checkpoint import Checkpoint
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Unit, open_units
from swarmd.train.determinism import deterministic
from swarmd.train.evaluate import Batches, evaluation_due, held_out_loss, loss_share, on_device
from swarmd.train.optim import AdamW
from swarmd.train.sums import sums_of
from swarmd.train.units import stage_units
from swarmd.train.versions import Versions


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
    weights = Versions(spec, units, 0 if resume is None else resume.step, place)
    sums, optimizer = sums_of(spec, names, place), AdamW(spec)
    rows: list[Row] = []

    def record(row: Row) -> None:
        rows.append(row)
        on_row(row)

    if resume is None and evaluation_due(spec.schedule, 0):
        record(EvalRow(0, held_out_loss(weights.newest, data, place)))
    for step in range(weights.version + 1, spec.schedule.steps + 1):
        losses, model = [], weights.of(step)
        for index in range(spec.batch.micro_batches):
            inputs, targets = (on_device(ids, place) for ids in data.micro_batch(step, index))
            loss = loss_share(model(inputs), targets, spec.batch.tokens_per_step)
            gradients = torch.autograd.grad(loss, list(model.parameters.values()))
            sums.add(step, index, dict(zip(model.parameters, gradients, strict=True)))
            losses.append(loss.item())
        squares = [square for _, square in weights.update(step, sums)]
        sums.clear()
        record(StepRow(step, math.fsum(losses), optimizer.rate(step), math.sqrt(math.fsum(squares))))
        if evaluation_due(spec.schedule, step):
            record(EvalRow(step, held_out_loss(weights.newest, data, place)))
    return Trained(weights.units, tuple(rows))
