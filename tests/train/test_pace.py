"""What a stage takes from its own times: how many micro-batches to hold, and how many weight gradients to put off."""

from __future__ import annotations

from swarmd.protocols.tensors import Direction
from swarmd.train.pace import STEPS, Pace


def pace(stage: int = 1, stages: int = 3, *, micro_batches: int = 16, credit: int = 2, room: int = 12) -> Pace:
    return Pace(stage=stage, stages=stages, most=micro_batches, credit=credit, room=room)


def one_step(paced: Pace, *, away: float, gap: float = 0.0, step: int = 1) -> None:
    """Micro-batch 0 of 1 s forward, 2 s backward, whose gradient was under way for so long; 1 met a queue.

    The step's first forward came ``gap`` after the last backward of the step before; a later one came just
    after a backward of its own step.
    """
    if gap:
        paced.backward(50.0, 100.0, split=True)
        paced.arrived(Direction.FORWARD, step, 0, 100.0 + gap)
        paced.backward(110.0, 120.0, split=True)
        paced.arrived(Direction.FORWARD, step, 1, 120.01)
    paced.forward(step, 0, 0.0, 1.0)
    paced.forward(step, 1, 1.0, 3.0)
    paced.arrived(Direction.BACKWARD, step, 0, 1.0 + away)
    paced.arrived(Direction.BACKWARD, step, 1, 30.0 + away)
    paced.backward(5.0, 7.0, split=False)
    paced.commit()


def test_it_begins_with_the_plans_credit_and_a_deferral_for_a_fast_link():
    assert (pace().credit, pace().deferral) == (2, 4)


def test_what_cannot_be_split_is_not_put_off():
    assert Pace(stage=1, stages=3, most=16, credit=2, room=12, defers=False).deferral == 0


def test_the_credit_follows_the_micro_batch_that_met_no_queue():
    paced = pace()
    one_step(paced, away=9.0)
    assert paced.credit == 5
    for _ in range(STEPS):
        one_step(paced, away=3.0)
    assert paced.credit == 3


def test_the_credit_does_not_fall_below_the_planned_one():
    paced = pace(credit=6)
    one_step(paced, away=3.0)
    assert paced.credit == 6


def test_one_slow_step_is_remembered_for_some_steps_and_no_longer():
    paced = pace()
    one_step(paced, away=12.0)
    one_step(paced, away=3.0)
    assert paced.credit == 6


def test_neither_leaves_the_room_or_the_step():
    paced = pace(room=6)
    one_step(paced, away=100.0, gap=100.0)
    assert (paced.credit, paced.deferral) == (6, 3)
    paced = pace(micro_batches=4, room=100)
    one_step(paced, away=100.0, gap=100.0)
    assert (paced.credit, paced.deferral) == (4, 4)


def test_room_for_less_than_the_credit_is_room_for_the_credit():
    assert pace(credit=3, room=0).credit == 3


def test_the_deferral_fills_the_gap_between_steps():
    paced = pace()
    one_step(paced, away=3.0, gap=3.5)
    assert paced.deferral == 3
    one_step(paced, away=3.0, gap=2.5, step=2)
    one_step(paced, away=3.0, gap=3.5, step=3)
    assert paced.deferral == 2


def test_a_measured_weight_gradient_counts_over_an_assumed_one():
    paced = pace()
    paced.weigh(0.0, 0.5)
    one_step(paced, away=3.0, gap=2.5)
    assert paced.deferral == 5


def test_the_first_stage_puts_nothing_off_and_the_last_has_nothing_away():
    assert pace(0).deferral == 0
    last = pace(2)
    last.forward(1, 0, 0.0, 1.0)
    last.backward(1.0, 3.0, split=False)
    last.commit()
    assert last.credit == 2
