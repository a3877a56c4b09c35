"""The machine with stale steps: what may go ahead, what may not, and that a chain of them always finishes."""

from __future__ import annotations

from collections import defaultdict
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.flow import Action, Backward, Commit, Evaluate, FlowStage, Forward, Weigh
from tests.scheduler.test_flow import Chain, drain, stage


def after(first: int, every: int = 100):
    """Stale from the step behind ``first`` on, but for those after a checkpoint."""
    return lambda step: step > first and (step - 1) % every != 0


def test_forwards_of_a_stale_step_follow_at_once_and_no_others():
    first = stage(0, credit=9, steps=5, stale=after(1))
    assert drain(first) == [Forward(1, 0), Forward(1, 1), Forward(2, 0), Forward(2, 1)]
    synchronous = stage(0, credit=9, steps=5, stale=after(2))
    assert drain(synchronous) == [Forward(1, 0), Forward(1, 1)]


def test_the_commit_comes_when_its_own_step_is_through_and_lets_one_more_step_go():
    first = stage(0, credit=4, steps=5, stale=after(1))
    drain(first)
    for number in (0, 1):
        first.backward_arrived(1, number)
    assert drain(first) == [Backward(1, 0), Backward(1, 1), Commit(1), Forward(3, 0), Forward(3, 1)]


def test_a_gradient_of_the_step_ahead_waits_for_the_commit():
    first = stage(0, micro_batches=1, credit=2, stale=after(1))
    assert drain(first) == [Forward(1, 0), Forward(2, 0)]
    first.backward_arrived(2, 0)
    assert drain(first) == []
    first.backward_arrived(1, 0)
    assert drain(first) == [Backward(1, 0), Commit(1), Forward(3, 0), Backward(2, 0), Commit(2)]


def test_the_step_ahead_takes_no_credit_from_the_one_before_it():
    middle = stage(credit=2, stale=after(1))
    middle.forward_arrived(2, 0)
    middle.forward_arrived(1, 0)
    assert drain(middle) == [Forward(1, 0)]
    middle.forward_arrived(1, 1)
    assert drain(middle) == [Forward(1, 1)]


def test_after_a_checkpoint_the_pipeline_fills_anew():
    alone = stage(0, 1, micro_batches=1, credit=9, steps=4, stale=after(1, every=2))
    assert drain(alone) == [
        Forward(1, 0), Backward(1, 0), Forward(2, 0), Commit(1), Backward(2, 0), Commit(2),
        Forward(3, 0), Backward(3, 0), Forward(4, 0), Commit(3), Backward(4, 0), Commit(4),
    ]  # fmt: skip


def test_only_a_step_before_a_synchronous_one_puts_weight_gradients_off():
    last = stage(2, micro_batches=1, deferral=1, steps=4, stale=after(1, every=2))
    for step in (1, 2):
        last.forward_arrived(step, 0)
    assert drain(last) == [
        Forward(1, 0), Backward(1, 0), Forward(2, 0), Commit(1), Backward(2, 0, split=True), Weigh(2, 0), Commit(2),
    ]  # fmt: skip


def test_a_version_stays_until_its_evaluation_is_through():
    middle = stage(micro_batches=1, stale=after(1), evaluation_steps=frozenset({1}), evaluation_batches=1)
    for step in (1, 2):
        middle.forward_arrived(step, 0)
    drain(middle)
    middle.backward_arrived(1, 0)
    middle.backward_arrived(2, 0)
    assert drain(middle) == [Backward(1, 0), Commit(1), Backward(2, 0)]
    middle.evaluation_arrived(1, 0)
    assert drain(middle) == [Evaluate(1, 0), Commit(2)]


@pytest.mark.parametrize(("stale", "last"), [(after(1), 3), (after(2), 3), (after(3), 2), (after(1, every=2), 2)])
def test_a_stage_takes_what_the_one_before_can_have_sent_and_no_more(stale, last):
    middle = stage(steps=9, stale=stale)
    middle.forward_arrived(last, 0)
    with pytest.raises(ProtocolViolation):
        middle.forward_arrived(last + 1, 0)


def test_a_gradient_of_what_was_not_sent_or_came_before_is_refused():
    first = stage(0, credit=3, stale=after(1))
    drain(first)
    first.backward_arrived(2, 0)
    for step, number in ((2, 0), (2, 1), (3, 0)):
        with pytest.raises(ProtocolViolation):
            first.backward_arrived(step, number)


def test_a_stage_cannot_begin_with_a_step_whose_weights_it_lacks():
    with pytest.raises(ValueError, match="no such stage"):
        stage(version=2, stale=after(1))


@settings(deadline=None, max_examples=150)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_interleaving_finishes_with_every_step_computed_by_its_own_version(data, seed):
    stages = data.draw(st.integers(1, 4), "stages")
    micro_batches = data.draw(st.integers(1, 4), "micro-batches")
    steps = data.draw(st.integers(0, 6), "steps")
    evaluated = data.draw(st.frozensets(st.integers(0, steps)), "evaluation steps")
    stale = after(data.draw(st.integers(1, 3), "synchronous steps"), data.draw(st.integers(2, 5), "checkpoint every"))
    machines = [
        FlowStage(
            stage=index,
            stages=stages,
            micro_batches=micro_batches,
            steps=steps,
            credit=data.draw(st.integers(1, 9), f"credit of stage {index}"),
            deferral=data.draw(st.integers(0, 4), f"deferral of stage {index}"),
            evaluation_steps=evaluated,
            evaluation_batches=1,
            stale=stale,
        )
        for index in range(stages)
    ]
    chain = Chain(machines, Random(seed))
    chain.run()
    assert all(machine.done and machine.held == 0 for machine in machines)
    for actions in chain.done:
        check(actions, stale, steps=steps, micro_batches=micro_batches, evaluated=evaluated)


def check(actions: list[Action], stale, *, steps: int, micro_batches: int, evaluated: frozenset[int]) -> None:
    """Each step's forwards, backwards and commit are there once, in order, and while its weights were."""
    version = 0
    forwards, summed = defaultdict(set), defaultdict(set)
    looked = set()
    for action in actions:
        match action:
            case Forward(step, number):
                assert step == version + 1 or (step == version + 2 and stale(step))
                forwards[step].add(number)
            case Backward(step, number, split):
                assert step == version + 1
                assert number in forwards[step]
                if not split:
                    summed[step].add(number)
            case Weigh(step, number):
                assert step == version + 1
                assert not stale(step + 1)
                summed[step].add(number)
            case Evaluate(step, _):
                assert step == version
                looked.add(step)
            case Commit(step):
                assert step == version + 1
                assert summed[step] == set(range(micro_batches))
                version = step
    assert (version, looked) == (steps, evaluated)
    assert sum(isinstance(action, Forward) for action in actions) == steps * micro_batches
