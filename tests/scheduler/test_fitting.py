"""What a stage gives up when memory is short, and in which order."""

from __future__ import annotations

import pytest

from swarmd.scheduler.fitting import Fit, fitted, least_needed, thrift

WEIGHTS = 100


def needs(held: int, recompute: bool) -> int:
    """Ten bytes a micro-batch; recomputing, one each and ten for the layer that is gone back over."""
    return WEIGHTS + (10 + held if recompute else 10 * held)


def fit(free: int, *, credit: int = 4, room: int = 8, recompute: bool = False) -> Fit | None:
    return fitted(needs, credit=credit, room=room, free=WEIGHTS + free, recompute=recompute)


@pytest.mark.parametrize(
    ("free", "credit", "room", "recompute"),
    [
        (1000, 4, 8, False),
        (65, 4, 6, False),
        (40, 4, 4, False),
        (30, 3, 3, False),  # three quarters of the credit are as fast as recomputing, and simpler
        (29, 4, 8, True),
        (14, 4, 4, True),
        (12, 2, 2, True),
        (11, 1, 1, False),
        (10, 1, 1, False),
    ],
)
def test_first_room_goes_then_some_credit_then_activations(free: int, credit: int, room: int, recompute: bool) -> None:
    found = fit(free)
    assert found == Fit(credit, room, recompute, needs(room, recompute))
    assert found.needed <= WEIGHTS + free


def test_what_holds_no_micro_batch_is_no_stage() -> None:
    assert fit(9) is None
    assert least_needed(needs) == WEIGHTS + 10


def test_with_few_micro_batches_recomputing_may_need_more_than_it_saves() -> None:
    assert fit(10, credit=1, room=1) == Fit(1, 1, False, WEIGHTS + 10)


def test_what_is_done_without_is_said() -> None:
    short, recomputing = Fit(1, 1, False, 0), Fit(2, 2, True, 0)
    assert thrift(short, credit=2, free=1 << 20) == "memory is short, 1 MiB are free: it holds 1 of 2 micro-batches"
    assert thrift(recomputing, credit=3, free=0).endswith("2 of 3 micro-batches and it computes activations twice")
    assert thrift(recomputing, credit=2, free=0, recompute=True) == thrift(short, credit=1, free=0) == ""


def test_who_must_recompute_does() -> None:
    assert fit(1000, recompute=True) == Fit(4, 8, True, needs(8, True))
    assert fit(10, recompute=True) is None
