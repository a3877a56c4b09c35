"""One place says what crosses a boundary: shape, codec and bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.boundary import boundary_shape, frame_bytes, frame_codec, token_bytes
from swarmd.protocols.codecs import payload_bytes
from swarmd.protocols.spec import JobSpec, WireSpec
from swarmd.protocols.tensors import Direction
from tests.protocols.specs import SPEC

INT8_INT4 = WireSpec(forward="int8", backward="int4", boundaries=(1,))
NARROW = replace(SPEC, model=replace(SPEC.model, subspace=4))
WIDE_IDS = replace(NARROW, data=replace(SPEC.data, dtype="u32"))


@pytest.mark.parametrize(
    ("spec", "codecs", "row"),
    [
        (SPEC, ("raw", "raw"), (32, 32)),
        (NARROW, ("raw+u16", "raw"), (18, 16)),
        (WIDE_IDS, ("raw+u32", "raw"), (20, 16)),
        (replace(SPEC, wire=INT8_INT4), ("int8", "int4"), (10, 6)),
        (replace(NARROW, wire=INT8_INT4), ("int8+u16", "int4"), (8, 4)),
    ],
)
def test_only_what_goes_forward_in_a_subspace_has_token_ids(
    spec: JobSpec, codecs: tuple[str, str], row: tuple[int, int]
) -> None:
    ways = (Direction.FORWARD, Direction.BACKWARD)
    assert tuple(frame_codec(spec, way) for way in ways) == codecs
    assert tuple(token_bytes(spec, way) for way in ways) == row
    assert frame_codec(spec, Direction.EVALUATE) == codecs[0]
    for way in Direction:
        assert frame_bytes(spec, way) == payload_bytes(frame_codec(spec, way), boundary_shape(spec))
