"""Which frames a place takes from a neighbour, told from the header alone."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.compute.layout import SHARE_BYTES
from swarmd.protocols.boundary import boundary_shape
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey
from swarmd.runs.expecting import AFTER, BEFORE, BESIDE, expected_frames
from tests.protocols.specs import SPEC

RUN = RunId("ab" * 32)
PEERS = [PeerId(f"peer{number}") for number in range(4)]
PLAN = Plan(
    RUN,
    2,
    3,
    (
        StageAssignment(PEERS[0], 0, 1, 1, ()),
        StageAssignment(PEERS[1], 1, 2, 1, (), 5),
        StageAssignment(PEERS[2], 1, 2, 1, (), 5),
        StageAssignment(PEERS[3], 2, 3, 1, ()),
    ),
    None,
)


def header(direction, boundary, shape=None, dtype="float32", plan=3):
    key = FrameKey(RUN, 2, 1, 0, boundary, direction)
    return FrameHeader(FRAME_VERSION, key, plan, 0, "raw", dtype, shape or boundary_shape(SPEC), bytes(32))


def word(direction, values):
    return header(direction, 1, (values,), "float64")


def takes(way, frame):
    return expected_frames(SPEC, PLAN, 1, way)(frame)


@pytest.mark.parametrize(
    ("way", "frame"),
    [
        (BEFORE, header(Direction.FORWARD, 1)),
        (BEFORE, header(Direction.EVALUATE, 1)),
        (AFTER, header(Direction.BACKWARD, 2)),
        (BESIDE, word(Direction.COUNTED, 1)),
        (BESIDE, word(Direction.PART, SHARE_BYTES // 8)),
    ],
)
def test_each_side_has_its_frames(way, frame):
    assert takes(way, frame)
    assert not any(takes(other, frame) for other in {BEFORE, BESIDE, AFTER} - {way})
    assert not takes(way, replace(frame, plan=4))
    assert not takes(way, replace(frame, key=replace(frame.key, boundary=frame.key.boundary + 1)))


def test_a_frame_of_another_form_is_not_taken():
    assert not takes(BEFORE, header(Direction.FORWARD, 1, (1, 1)))
    assert not takes(BESIDE, word(Direction.COUNTED, 2))
    assert not takes(BESIDE, word(Direction.PART, SHARE_BYTES // 8 + 1))
    assert not takes(BESIDE, header(Direction.PART, 1, (2, 2), "float64"))
    assert not takes(BESIDE, header(Direction.PART, 1, (2,), "float32"))
