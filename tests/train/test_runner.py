"""A chain of stage runners, joined in memory, computes what the plain loop computes, to the bit."""

from __future__ import annotations

import random
from collections import deque
from itertools import pairwise
from pathlib import Path

import pytest
from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Load, Scored, Stepped, Stored
from swarmd.protocols.checkpoint import Checkpoint, UnitState
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.train.checkpoint import store_units
from swarmd.train.data import TokenData
from swarmd.train.loop import EvalRow, StepRow, train
from swarmd.train.runner import StageRunner, flow_of
from swarmd.train.stage import Stage
from tests.train.specs import small_spec

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
    from swarmd.protocols.checkpoint import parse_checkpoint

    checkpoint = parse_checkpoint(blobs.get(name))
    return checkpoint.step, checkpoint.units


@pytest.mark.slow
@pytest.mark.parametrize("cuts", [(0, 3), (0, 1, 3), (0, 1, 2, 3)])
def test_any_number_of_stages_gives_the_plain_loops_bits(tmp_path: Path, cuts: tuple[int, ...]) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    spec = small_spec(tmp_path, blobs)
    reference = train(spec, TokenData(spec, blobs.get))
    chain = Chain(spec, blobs, cuts)
    chain.run(seed=len(cuts))
    expected = store_units(spec.schedule.steps, reference.units, blobs)
    assert chain.weights() == {unit.unit: unit for unit in expected.units}
    losses = {report.step: float(report.loss) for report in chain.reported(Stepped) if report.loss is not None}
    assert losses == {row.step: row.loss for row in reference.rows if isinstance(row, StepRow)}
    scores = {report.step: float(report.loss) for report in chain.reported(Scored)}
    assert scores == {row.step: row.loss for row in reference.rows if isinstance(row, EvalRow)}


@pytest.mark.slow
def test_going_on_from_a_checkpoint_gives_the_same_bits_whatever_the_cuts(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    spec = small_spec(tmp_path, blobs)
    whole = Chain(spec, blobs, (0, 1, 3))
    whole.run(seed=1)
    at_two = {unit.unit: unit for stored in whole.reported(Stored) if stored.step == 2 for unit in stored.units}
    names = ("embed", "layers.0", "layers.1", "layers.2", "head")
    start = blobs.put(Checkpoint(2, tuple(at_two[name] for name in names)).to_bytes())
    rest = Chain(spec, blobs, (0, 2, 3), start)
    rest.run(seed=2)
    assert rest.weights() == whole.weights()
    assert min(report.step for report in rest.reported(Stepped)) == 3


def test_a_frame_of_another_run_term_or_boundary_is_refused(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    spec = small_spec(tmp_path, blobs)
    chain = Chain(spec, blobs, (0, 1, 3))
    tensor = Stage(spec, 0, 1, TokenData(spec, blobs.get)).forward(1, 0)
    assert tensor is not None
    good = FrameKey(RUN, 1, 1, 0, 1, Direction.FORWARD)
    for key in (
        FrameKey(RunId("cd" * 32), 1, 1, 0, 1, Direction.FORWARD),
        FrameKey(RUN, 2, 1, 0, 1, Direction.FORWARD),
        FrameKey(RUN, 1, 1, 0, 2, Direction.FORWARD),
        FrameKey(RUN, 1, 3, 0, 1, Direction.FORWARD),
    ):
        header = FrameHeader(FRAME_VERSION, key, 1, 0, "raw", "float32", tuple(tensor.shape), bytes(32))
        with pytest.raises(ProtocolViolation):
            chain.runners[1].arrived(header, tensor)
    header = FrameHeader(FRAME_VERSION, good, 1, 0, "raw", "float32", tuple(tensor.shape), bytes(32))
    chain.runners[1].arrived(header, tensor)
    with pytest.raises(ProtocolViolation):
        chain.runners[1].arrived(header, tensor)
