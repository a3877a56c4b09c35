"""When a lost peer can be done without, and the plan that follows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from swarmd.blobs import BlobStore
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.statements import Plan, StageAssignment
from swarmd.scheduler.mending import common_version, covers, may_mend, mended
from tests.train.specs import small_spec

A, B, C = (PeerId(f"peer-{letter}") for letter in "abc")


def place(peer: PeerId, first: int, end: int, service: int = 0) -> StageAssignment:
    return StageAssignment(peer, first, end, 1, (), service)


SHARED = Plan(RunId("1" * 64), 3, 1, (place(A, 0, 1), place(B, 1, 3, 20), place(C, 1, 3, 30)), None)


def test_the_last_one_of_a_stage_cannot_be_done_without() -> None:
    assert covers((0, 1, 1), (0, 1))
    assert not covers((0, 1, 1), (1, 1))


def test_all_go_on_from_the_newest_version_that_everybody_has() -> None:
    assert common_version([(5, 4), (4, 3), (5, 5)][:2]) == 4
    assert common_version([(5, 4), (5, 5)]) == 5
    assert common_version([(5, 4), (4, 3), (5, 5)]) is None


def test_a_mended_plan_has_the_next_number_and_one_place_fewer() -> None:
    after = mended(SHARED, (A, C))
    assert (after.run, after.term, after.number) == (SHARED.run, 3, 2)
    assert after.stages == (place(A, 0, 1), place(C, 1, 3))


def test_replicas_that_are_left_keep_their_share() -> None:
    four = replace(SHARED, stages=(*SHARED.stages, place(PeerId("peer-d"), 1, 3, 40)))
    assert [each.service for each in mended(four, (A, B, C)).stages] == [0, 20, 30]


def test_a_plan_of_which_a_stage_is_gone_is_no_plan() -> None:
    with pytest.raises(ValueError, match="layer"):
        mended(SHARED, (B, C))


def test_only_replicas_of_synchronous_runs_can_be_done_without(tmp_path: Path) -> None:
    spec = small_spec(tmp_path, BlobStore(tmp_path / "blobs"))
    assert may_mend(SHARED, spec)
    assert not may_mend(mended(SHARED, (A, B)), spec)
    stale = replace(spec, schedule=replace(spec.schedule, async_after=1))
    assert not may_mend(SHARED, stale)
