"""Checkpoint manifests: every unit once, in order; anything else is refused."""

from __future__ import annotations

import pytest

from swarmd.protocols.canonical import Value, encode
from swarmd.protocols.checkpoint import Checkpoint, UnitState, parse_checkpoint, unit_names
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash

A, B = BlobHash("a" * 64), BlobHash("b" * 64)
TWO_LAYERS = tuple(UnitState(unit, A, B) for unit in ("embed", "layers.0", "layers.1", "head"))


def test_a_checkpoint_survives_the_wire() -> None:
    checkpoint = Checkpoint(100, TWO_LAYERS)
    assert parse_checkpoint(checkpoint.to_bytes()) == checkpoint
    assert checkpoint.layers == 2
    assert checkpoint.unit("layers.1") == UnitState("layers.1", A, B)


def test_the_largest_model_has_a_manifest_within_the_limit() -> None:
    units = tuple(UnitState(unit, A, B) for unit in unit_names(512))
    assert parse_checkpoint(Checkpoint(1, units).to_bytes()).layers == 512


GOOD: list[Value] = [("embed", "a" * 64, None), ("layers.0", "a" * 64, None), ("head", "a" * 64, None)]

HOSTILE: list[Value] = [
    None,
    b"",
    (),
    (0,),
    (0, tuple(GOOD), 0),
    (True, tuple(GOOD)),
    (-1, tuple(GOOD)),
    (1 << 40, tuple(GOOD)),
    (0, ()),
    (0, tuple(GOOD[:2])),
    (0, tuple(reversed(GOOD))),
    (0, (GOOD[0], GOOD[1], GOOD[1], GOOD[2])),
    (0, (GOOD[0], ("layers.1", "a" * 64, None), GOOD[2])),
    (0, (GOOD[0], ("layers.00", "a" * 64, None), GOOD[2])),
    (0, (GOOD[0], ("layers.0", "../../etc", None), GOOD[2])),
    (0, (GOOD[0], ("layers.0", "A" * 64, None), GOOD[2])),
    (0, (GOOD[0], ("layers.0", "a" * 64, "b" * 64), GOOD[2])),
    (0, (GOOD[0], ("layers.0", "a" * 64), GOOD[2])),
    (0, tuple(("embed", "a" * 64, None) for _ in range(514))),
]


@pytest.mark.parametrize("value", HOSTILE)
def test_a_hostile_manifest_is_refused(value: Value) -> None:
    with pytest.raises(ProtocolViolation):
        parse_checkpoint(encode(value))


def test_a_blob_that_is_no_hash_has_no_manifest() -> None:
    with pytest.raises(ValueError, match="not named by its hash"):
        Checkpoint(0, tuple(UnitState(unit, BlobHash("../up")) for unit in unit_names(1)))


def test_garbage_is_refused() -> None:
    with pytest.raises(ProtocolViolation):
        parse_checkpoint(b"\xc1" * 10)
