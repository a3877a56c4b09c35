"""The probe micro-batch: what one layer, the embedding and the head cost on this device.

The planner believes what the coordinator had timed here, on the run's own shapes, over what an advert
says. Ids are all zero: the time of a transformer does not depend on what the text says.
"""

from __future__ import annotations

import time
from dataclasses import replace
from statistics import median

import numpy as np
import torch
from torch import Tensor

from swarmd.protocols.spec import JobSpec
from swarmd.train.stage import Stage, deterministic

WARM_UPS = 2
ROUNDS = 5


class ZeroIds:
    """Token ids of the run's shape, for timing (``Batches``)."""

    eval_batches = 0

    def __init__(self, shape: tuple[int, int]) -> None:
        self._ids = np.zeros(shape, dtype=np.int64)

    def micro_batch(self, step: int, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, [B, T]."""
        return self._ids, self._ids

    def eval_batch(self, index: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets, [B, T]."""
        return self._ids, self._ids


def time_micro_batch(spec: JobSpec, device: str) -> tuple[int, int, int]:
    """Nanoseconds of forward and backward of one layer, of the embedding, and of the head."""
    deterministic(spec)
    batch = replace(spec.batch, micro_batches=WARM_UPS + ROUNDS)
    probe = replace(spec, batch=batch, model=replace(spec.model, num_hidden_layers=3, weights=None))
    data = ZeroIds((batch.micro_batch_size, batch.sequence_length))
    layer = _time(Stage(probe, 1, 2, None, device=device), probe)
    first = _time(Stage(probe, 0, 1, data, device=device), probe)
    last = _time(Stage(probe, 2, 3, data, device=device), probe)
    return layer, max(1, first - layer), max(1, last - layer)


def _time(stage: Stage, spec: JobSpec) -> int:
    shape = (spec.batch.micro_batch_size, spec.batch.sequence_length, spec.model.hidden_size)
    filler = torch.full(shape, 0.01)
    taken = [_once(stage, index, filler) for index in range(WARM_UPS + ROUNDS)]
    return max(1, int(median(taken[WARM_UPS:])))


def _once(stage: Stage, index: int, filler: Tensor) -> int:
    began = time.perf_counter_ns()
    stage.forward(1, index, None if stage.first else filler)
    stage.backward(1, index, None if stage.last else filler)
    return time.perf_counter_ns() - began
