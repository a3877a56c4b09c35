"""A chain of stage runners, joined in memory."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise

from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Load, Stored
from swarmd.protocols.checkpoint import Checkpoint, UnitState, parse_checkpoint
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.train.data import TokenData
from swarmd.train.runner import StageRunner, flow_of
from swarmd.train.stage import Stage

RUN = RunId("ab" * 32)


class Chain:
    """Runners joined by queues; ``step`` lets one of them, picked at random, do one thing."""

    def __init__(self, spec: JobSpec, blobs: BlobStore, cuts: tuple[int, ...], start: BlobHash | None = None) -> None:
        self.spec, self.blobs = spec, blobs
        self.reports: list[object] = []
        self.queues: list[deque[tuple[FrameHeader, Tensor]]] = []
        self.runners: list[StageRunner] = []
        self.loads: list[Load] = []
        for index, (first, end) in enumerate(pairwise(cuts)):
            self._add(index, first, end, len(cuts) - 1, start)

    def _add(self, index: int, first: int, end: int, stages: int, start: BlobHash | None) -> None:
        load = Load(self.spec.to_bytes(), RUN, 1, 1, index, stages, first, end, 2, start)
        data = TokenData(self.spec, self.blobs.get)
        checkpoint = None if start is None else Checkpoint(*_manifest(self.blobs, start))
        stage = Stage(self.spec, first, end, data, checkpoint=checkpoint, read=self.blobs.get)
        flow = flow_of(load, self.spec, stage.version)
        self.loads.append(load)
        self.queues.append(deque())
        self.runners.append(StageRunner(load, self.spec, stage, flow, self.blobs))

    def run(self, seed: int) -> None:
        """Until every stage is done, in a seeded order."""
        order = random.Random(seed)
        while not all(runner.done for runner in self.runners):
            index = order.randrange(len(self.runners))
            if self.queues[index] and order.random() < 0.7:
                self.runners[index].arrived(*self.queues[index].popleft())
            else:
                self.runners[index].turn(_Outlet(self, index))

    def reported(self, kind: type) -> list:
        return [report for report in self.reports if isinstance(report, kind)]

    def weights(self) -> dict[str, UnitState]:
        last = max(stored.step for stored in self.reported(Stored))
        return {unit.unit: unit for stored in self.reported(Stored) if stored.step == last for unit in stored.units}


class _Outlet:
    def __init__(self, chain: Chain, index: int) -> None:
        self.chain, self.index = chain, index

    def tensor(self, direction: Direction, step: int, index: int, weight_version: int, tensor: Tensor) -> None:
        load = self.chain.loads[self.index]
        back = direction is Direction.BACKWARD
        key = FrameKey(RUN, 1, step, index, load.first if back else load.end, direction)
        header = FrameHeader(FRAME_VERSION, key, 1, weight_version, "raw", "float32", tuple(tensor.shape), bytes(32))
        self.chain.queues[self.index + (-1 if back else 1)].append((header, tensor.clone()))

    def report(self, message: object) -> None:
        self.chain.reports.append(message)

    def make_room(self) -> None:
        """Nothing here deletes checkpoints."""


def _manifest(blobs: BlobStore, name: BlobHash) -> tuple[int, tuple[UnitState, ...]]:
    checkpoint = parse_checkpoint(blobs.get(name))
    return checkpoint.step, checkpoint.units
