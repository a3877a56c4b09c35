"""A pipeline of stage runners, joined in memory; a stage may have several replicas."""

from __future__ import annotations

import random
from collections import defaultdict, deque
from itertools import pairwise

from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Load, Stored
from swarmd.protocols.checkpoint import Checkpoint, UnitState, parse_checkpoint
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.scheduler.around import Around, Seat
from swarmd.train.data import TokenData
from swarmd.train.loading import flow_of
from swarmd.train.outbox import Notice
from swarmd.train.runner import StageRunner
from swarmd.train.stage import Stage

RUN = RunId("ab" * 32)


class Chain:
    """Runners joined by a queue from each to each; one of them, picked at random, does one thing at a time."""

    def __init__(
        self,
        spec: JobSpec,
        blobs: BlobStore,
        cuts: tuple[int, ...],
        start: BlobHash | None = None,
        replicas: tuple[int, ...] | None = None,
    ) -> None:
        """``replicas`` of each stage, 1 if not given."""
        self.spec, self.blobs = spec, blobs
        self.reports: list[object] = []
        self.queues: defaultdict[int, dict[int, deque[tuple[FrameHeader, Tensor | bytes]]]] = defaultdict(dict)
        self.runners: list[StageRunner] = []
        self.loads: list[Load] = []
        self.random = random.Random(0)
        groups = _groups(replicas or (1,) * (len(cuts) - 1))
        for index, ends in enumerate(pairwise(cuts)):
            before, beside, after = groups[index : index + 3]
            for column, seat in enumerate(beside):
                own = slice(column, column + 1) if spec.lanes > 1 else slice(None)
                self._add(Around(seat.place, before[own], beside, after[own]), index, ends, len(cuts) - 1, start)

    def _add(self, around: Around, index: int, ends: tuple[int, int], stages: int, start: BlobHash | None) -> None:
        load = Load(self.spec.to_bytes(), RUN, 1, 1, index, stages, *ends, 2, around, start)
        data = TokenData(self.spec, self.blobs.get)
        checkpoint = None if start is None else Checkpoint(*_manifest(self.blobs, start))
        lane = around.column if self.spec.lanes > 1 else 0
        stage = Stage(self.spec, *ends, data, checkpoint=checkpoint, read=self.blobs.get, lane=lane)
        flow = flow_of(load, self.spec, stage.version)
        self.loads.append(load)
        self.runners.append(StageRunner(load, self.spec, stage, flow, self.blobs))

    def run(self, seed: int) -> None:
        """Until every stage is done, in a seeded order."""
        self.random = random.Random(seed)
        while not all(runner.done for runner in self.runners):
            place = self.random.randrange(len(self.runners))
            waiting = [sender for sender, queue in self.queues[place].items() if queue]
            if waiting and self.random.random() < 0.7:
                self._deliver(self.random.choice(waiting), place)
            else:
                self.runners[place].turn(_Outlet(self, place))

    def _deliver(self, sender: int, place: int) -> None:
        header, what = self.queues[place][sender].popleft()
        if isinstance(what, bytes):
            self.runners[place].noticed(header, memoryview(what), sender, lambda: None)
        else:
            self.runners[place].arrived(header, what, sender)

    def send(self, sender: int, to: int, header: FrameHeader, what: Tensor | bytes) -> None:
        assert to in self.loads[sender].around.neighbours
        self.queues[to].setdefault(sender, deque()).append((header, what))

    def reported(self, kind: type) -> list:
        return [report for report in self.reports if isinstance(report, kind)]

    def weights(self) -> dict[str, UnitState]:
        last = max(stored.step for stored in self.reported(Stored))
        return {unit.unit: unit for stored in self.reported(Stored) if stored.step == last for unit in stored.units}


class _Outlet:
    def __init__(self, chain: Chain, place: int) -> None:
        self.chain, self.place = chain, place

    def tensor(self, to: int, direction: Direction, step: int, index: int, version: int, tensor: Tensor) -> None:
        load = self.chain.loads[self.place]
        key = FrameKey(RUN, 1, step, index, load.first if direction is Direction.BACKWARD else load.end, direction)
        header = FrameHeader(FRAME_VERSION, key, 1, version, "raw", "float32", tuple(tensor.shape), bytes(32))
        self.chain.send(self.place, to, header, tensor.clone())

    def notice(self, notice: Notice) -> bool:
        """Now and then there is no slot."""
        if self.chain.random.random() < 0.3:
            return False
        key = FrameKey(RUN, 1, notice.step, notice.index, self.chain.loads[self.place].first, notice.direction)
        dtype, width = ("uint8", 1) if notice.direction == Direction.TOLD else ("float64", 8)
        shape = (len(notice.values) // width,)
        header = FrameHeader(FRAME_VERSION, key, 1, notice.step - 1, "raw", dtype, shape, bytes(32))
        self.chain.send(self.place, notice.to, header, notice.values)
        return True

    def report(self, message: object) -> None:
        self.chain.reports.append(message)

    def make_room(self) -> None:
        """Nothing here deletes checkpoints."""


def _groups(replicas: tuple[int, ...]) -> list[tuple[Seat, ...]]:
    """The seats of each stage, with nobody before the first and after the last. Replicas are uneven."""
    starts = [sum(replicas[:index]) for index in range(len(replicas))]
    seats = [
        tuple(Seat(begin + number, 2, 1000 * (number + 1) if count > 1 else 0) for number in range(count))
        for begin, count in zip(starts, replicas, strict=True)
    ]
    return [(), *seats, ()]


def _manifest(blobs: BlobStore, name: BlobHash) -> tuple[int, tuple[UnitState, ...]]:
    checkpoint = parse_checkpoint(blobs.get(name))
    return checkpoint.step, checkpoint.units
