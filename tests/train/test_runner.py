"""A chain of stage runners, joined in memory, computes what the plain loop computes, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Scored, Stepped, Stored
from swarmd.protocols.checkpoint import Checkpoint
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import RunId
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.train.checkpoint import store_units
from swarmd.train.data import TokenData
from swarmd.train.loop import EvalRow, StepRow, train
from swarmd.train.stage import Stage
from tests.train.chain import RUN, Chain
from tests.train.specs import small_spec


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
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("replicas", [(1, 2, 1), (2, 1, 3), (3, 2, 2)])
def test_replicas_of_any_stage_give_the_plain_loops_bits(tmp_path: Path, replicas: tuple[int, ...], seed: int) -> None:
    blobs = BlobStore(tmp_path / "blobs")
    spec = small_spec(tmp_path, blobs)
    reference = train(spec, TokenData(spec, blobs.get))
    chain = Chain(spec, blobs, (0, 1, 2, 3), replicas=replicas)
    chain.run(seed)
    expected = store_units(spec.schedule.steps, reference.units, blobs)
    assert {
        unit for stored in chain.reported(Stored) if stored.step == spec.schedule.steps for unit in stored.units
    } == {*expected.units}
    losses = {(report.step, float(report.loss)) for report in chain.reported(Stepped) if report.loss is not None}
    assert losses == {(row.step, row.loss) for row in reference.rows if isinstance(row, StepRow)}
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
            chain.runners[1].arrived(header, tensor, 0)
    header = FrameHeader(FRAME_VERSION, good, 1, 0, "raw", "float32", tuple(tensor.shape), bytes(32))
    chain.runners[1].arrived(header, tensor, 0)
    with pytest.raises(ProtocolViolation):
        chain.runners[1].arrived(header, tensor, 0)
