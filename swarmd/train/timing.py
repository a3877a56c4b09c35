"""The probe micro-batch: what one layer, the embedding and the head cost on this device.

The planner believes what the coordinator had timed here, on the run's own shapes, over what an advert
says. Ids are all zero: the time of a transformer does not depend on what the text says. On a CPU the time is
that of our own threads, and everywhere the best of some rounds counts: what else the machine does in this
moment says little of the hours to come. Codecs are left out: they cost a few operations a number, a layer thousands.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from swarmd.gpu.devices import resolve
from swarmd.protocols.boundary import boundary_shape
from swarmd.protocols.spec import AveragingSpec, JobSpec, WireSpec
from swarmd.train.crossing import Crossing
from swarmd.train.stage import Stage, deterministic

WARM_UPS = 2
ROUNDS = 8


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
    device = str(resolve(device))
    batch = replace(spec.batch, micro_batches=WARM_UPS + ROUNDS)
    model = replace(spec.model, num_hidden_layers=3, weights=None)
    probe = replace(spec, batch=batch, model=model, wire=WireSpec(), averaging=AveragingSpec())
    data = ZeroIds((batch.micro_batch_size, batch.sequence_length))
    layer = _time(Stage(probe, 1, 2, None, device=device), probe, device)
    first = _time(Stage(probe, 0, 1, data, device=device), probe, device)
    last = _time(Stage(probe, 2, 3, data, device=device), probe, device)
    return layer, max(1, first - layer), max(1, last - layer)


def _time(stage: Stage, spec: JobSpec, device: str) -> int:
    shape, crossing = boundary_shape(spec), Crossing(spec, torch.device("cpu"))
    numbers = torch.full(shape, 0.01)
    frames = (crossing.forth(numbers, torch.zeros(shape[:2], dtype=torch.int64)), crossing.back(numbers))
    clock = _cpu_clock(spec.numerics.threads) if device == "cpu" else time.perf_counter_ns
    taken = [_once(stage, index, frames, clock) for index in range(WARM_UPS + ROUNDS)]
    return max(1, min(taken[WARM_UPS:]))


def _cpu_clock(threads: int) -> Callable[[], int]:
    return lambda: time.process_time_ns() // threads


def _once(stage: Stage, index: int, frames: tuple[Tensor, Tensor], clock: Callable[[], int]) -> int:
    there, back = frames
    began = clock()
    stage.forward(1, index, None if stage.first else there)
    stage.backward(1, index, None if stage.last else back)
    stage.staging.computed()
    return clock() - began
