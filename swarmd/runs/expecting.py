"""Which frames a place of a plan may get from a neighbour: all that can be told from a header alone."""

from __future__ import annotations

from collections.abc import Callable

from swarmd.compute.layout import SHARE_BYTES
from swarmd.protocols.boundary import boundary_shape, frame_codec
from swarmd.protocols.codecs import RAW
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan
from swarmd.protocols.tensors import Direction, FrameHeader

BEFORE, BESIDE, AFTER = "before", "beside", "after"
"""A neighbour holds the stage before, is another replica of the own one, or holds the stage after."""
_DIRECTIONS = {
    BEFORE: (Direction.FORWARD, Direction.EVALUATE),
    BESIDE: (Direction.COUNTED, Direction.PART),
    AFTER: (Direction.BACKWARD,),
}


def expected_frames(spec: JobSpec, plan: Plan, place: int, way: str) -> Callable[[FrameHeader], bool]:
    """A check for the frames of a neighbour on this side of a place."""
    here, shape = plan.stages[place], boundary_shape(spec)
    directions = (Direction.TOLD,) if way == BESIDE and spec.lanes > 1 else _DIRECTIONS[way]
    boundary = here.end if way == AFTER else here.first

    def fits(header: FrameHeader) -> bool:
        if way == BESIDE:
            dtype = "uint8" if spec.lanes > 1 else "float64"
            return header.codec == RAW and header.dtype == dtype and _fits_a_slot(header)
        form = (frame_codec(spec, header.key.direction), "float32", shape)
        return (header.codec, header.dtype, header.shape) == form

    def expected(header: FrameHeader) -> bool:
        key = header.key
        named = (key.run, key.term, header.plan, key.boundary) == (plan.run, plan.term, plan.number, boundary)
        return named and key.direction in directions and fits(header)

    return expected


def _fits_a_slot(header: FrameHeader) -> bool:
    most = 8 if header.key.direction == Direction.COUNTED else SHARE_BYTES
    return len(header.shape) == 1 and header.payload_bytes <= most
