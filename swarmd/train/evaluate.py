"""Losses: of a micro-batch while training, and of the held-out windows."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from swarmd.protocols.spec import ScheduleSpec
from swarmd.train.model import Model

Ids = npt.NDArray[np.int64]


class Batches(Protocol):
    """Where token ids come from: arrays [B, T], inputs and targets."""

    @property
    def eval_batches(self) -> int:
        """Batches in one evaluation."""
        ...

    def micro_batch(self, step: int, index: int) -> tuple[Ids, Ids]:
        """Of one micro-batch of one step; steps count from 1."""
        ...

    def eval_batch(self, index: int) -> tuple[Ids, Ids]:
        """Of one batch of held-out windows."""
        ...


def on_device(ids: Ids, device: torch.device) -> Tensor:
    """Token ids as a tensor in memory of its own."""
    return torch.from_numpy(ids).to(device, copy=True)


def loss_share(logits: Tensor, targets: Tensor, tokens_per_step: int) -> Tensor:
    """A micro-batch's share of its step's mean loss: summed over its tokens, divided by the step's tokens."""
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum") / tokens_per_step


def loss_sum(logits: Tensor, targets: Tensor) -> float:
    """Token losses of one evaluation batch, added in float64."""
    losses = F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="none")
    return math.fsum(losses.tolist())


def held_out_loss(model: Model, data: Batches, device: torch.device) -> float:
    """Mean loss in nats over all held-out windows of an evaluation."""
    sums: list[float] = []
    tokens = 0
    with torch.no_grad():
        for index in range(data.eval_batches):
            inputs, targets = (on_device(ids, device) for ids in data.eval_batch(index))
            sums.append(loss_sum(model(inputs), targets))
            tokens += targets.numel()
    return math.fsum(sums) / tokens


def evaluation_due(schedule: ScheduleSpec, step: int) -> bool:
    """Whether the model is evaluated after ``step`` steps; 0 is the untrained model."""
    return schedule.eval_windows > 0 and (step % schedule.eval_every == 0 or step == schedule.steps)
