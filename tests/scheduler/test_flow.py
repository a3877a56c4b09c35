"""The flow-sync machine: what a stage chooses, what it refuses, and that a chain of them always finishes."""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.flow import (
    Action,
    Backward,
    Commit,
    Evaluate,
    FlowStage,
    Forward,
    Weigh,
)


def stage(index: int = 1, of: int = 3, *, micro_batches: int = 2, credit: int = 2, **more: object) -> FlowStage:
    return FlowStage(
        stage=index,
        stages=of,
        micro_batches=micro_batches,
        credit=credit,
        **{"steps": 3, **more},
    )


def drain(machine: FlowStage) -> list[Action]:
    return list(iter(machine.choose, None))


class TestOrderOfChoice:
    def test_a_ready_backward_comes_before_a_ready_forward(self):
        middle = stage()
        middle.forward_arrived(1, 0)
        assert middle.choose() == Forward(1, 0)
        middle.forward_arrived(1, 1)
        middle.backward_arrived(1, 0)
        assert drain(middle) == [Backward(1, 0), Forward(1, 1)]

    def test_a_forward_follows_each_backward_while_the_credit_allows_so_the_next_stage_never_starves(self):
        first = stage(0, micro_batches=6, credit=3)
        assert drain(first) == [Forward(1, 0), Forward(1, 1), Forward(1, 2)]
        for each in (0, 1, 2):
            first.backward_arrived(1, each)
        assert drain(first) == [
            Backward(1, 0), Forward(1, 3), Backward(1, 1), Forward(1, 4), Backward(1, 2), Forward(1, 5),
        ]  # fmt: skip

    def test_the_commit_waits_for_the_whole_set_and_comes_before_the_next_steps_forwards(self):
        middle = stage()
        for step, number in ((1, 1), (1, 0), (2, 0)):
            middle.forward_arrived(step, number)
        assert drain(middle) == [Forward(1, 1), Forward(1, 0)]
        middle.backward_arrived(1, 0)
        assert drain(middle) == [Backward(1, 0)]
        middle.backward_arrived(1, 1)
        assert drain(middle) == [Backward(1, 1), Commit(1), Forward(2, 0)]

    def test_an_evaluation_runs_after_its_commit_and_before_the_next_forward(self):
        middle = stage(micro_batches=1, evaluation_steps=frozenset({1}), evaluation_batches=2)
        middle.forward_arrived(1, 0)
        assert drain(middle) == [Forward(1, 0)]
        middle.forward_arrived(2, 0)
        middle.evaluation_arrived(1, 1)
        middle.backward_arrived(1, 0)
        assert drain(middle) == [Backward(1, 0), Commit(1), Evaluate(1, 1)]
        middle.evaluation_arrived(1, 0)
        assert drain(middle) == [Evaluate(1, 0), Forward(2, 0)]

    def test_forwards_stop_at_the_credit(self):
        first = stage(0, micro_batches=5, credit=2)
        assert drain(first) == [Forward(1, 0), Forward(1, 1)]
        assert first.held == 2
        first.backward_arrived(1, 1)
        assert drain(first) == [Backward(1, 1), Forward(1, 2)]

    def test_the_last_stage_turns_each_forward_round_at_once(self):
        last = stage(2)
        last.forward_arrived(1, 1)
        last.forward_arrived(1, 0)
        assert drain(last) == [Forward(1, 1), Backward(1, 1), Forward(1, 0), Backward(1, 0), Commit(1)]

    def test_one_stage_alone_is_the_plain_loop(self):
        alone = stage(0, 1, steps=2, evaluation_steps=frozenset({0, 2}), evaluation_batches=1)
        step = [[Forward(t, 0), Backward(t, 0), Forward(t, 1), Backward(t, 1), Commit(t)] for t in (1, 2)]
        assert drain(alone) == [Evaluate(0, 0), *step[0], *step[1], Evaluate(2, 0)]
        assert alone.done

    def test_a_stage_can_start_at_a_checkpoint(self):
        alone = stage(0, 1, steps=3, version=2, evaluation_steps=frozenset({2}), evaluation_batches=1)
        assert [type(action) for action in drain(alone)] == [
            Evaluate,
            Forward,
            Backward,
            Forward,
            Backward,
            Commit,
        ]
        assert alone.done

    def test_nothing_is_left_to_do_at_the_last_step(self):
        assert stage(0, version=3).done
        assert stage(0, version=3).choose() is None


class TestDeferral:
    def test_only_a_steps_last_backwards_are_split_and_weighed_in_their_order_before_the_commit(self):
        last = stage(2, micro_batches=3, credit=1, deferral=2)
        for number in (2, 0, 1):
            last.forward_arrived(1, number)
        assert drain(last) == [
            Forward(1, 2), Backward(1, 2),
            Forward(1, 0), Backward(1, 0, split=True),
            Forward(1, 1), Backward(1, 1, split=True),
            Weigh(1, 0), Weigh(1, 1), Commit(1),
        ]  # fmt: skip

    def test_a_weight_gradient_waits_for_all_else_that_can_be_done(self):
        middle = stage(micro_batches=3, credit=3, deferral=3)
        middle.forward_arrived(1, 0)
        assert drain(middle) == [Forward(1, 0)]
        middle.backward_arrived(1, 0)
        middle.forward_arrived(1, 1)
        assert middle.choose() == Backward(1, 0, split=True)
        assert (middle.held, middle.deferred) == (0, 1)
        assert drain(middle) == [Forward(1, 1), Weigh(1, 0)]

    def test_the_first_stage_splits_nothing(self):
        assert Weigh not in map(type, drain(stage(0, 1, deferral=2)))

    def test_it_can_change_between_steps(self):
        last = stage(2, micro_batches=1, deferral=1)
        last.forward_arrived(1, 0)
        assert drain(last) == [Forward(1, 0), Backward(1, 0, split=True), Weigh(1, 0), Commit(1)]
        last.deferral = 0
        last.forward_arrived(2, 0)
        assert drain(last) == [Forward(2, 0), Backward(2, 0), Commit(2)]


class TestRefusals:
    @pytest.mark.parametrize(
        ("step", "number"),
        [(0, 0), (3, 0), (1, 2), (1, -1)],
        ids=["an old step", "two steps ahead", "past the set", "negative"],
    )
    def test_a_forward_nobody_owes_us(self, step, number):
        with pytest.raises(ProtocolViolation):
            stage().forward_arrived(step, number)

    def test_a_forward_past_the_last_step(self):
        with pytest.raises(ProtocolViolation):
            stage(steps=1).forward_arrived(2, 0)

    def test_a_second_copy_of_a_forward_even_after_its_use(self):
        middle = stage()
        middle.forward_arrived(1, 0)
        middle.choose()
        with pytest.raises(ProtocolViolation, match="came twice"):
            middle.forward_arrived(1, 0)

    @pytest.mark.parametrize("step", [0, 2], ids=["not in the schedule", "two steps ahead"])
    def test_an_evaluation_nobody_asked_for(self, step):
        with pytest.raises(ProtocolViolation):
            stage(evaluation_steps=frozenset({1, 2}), evaluation_batches=1).evaluation_arrived(step, 0)

    def test_an_evaluation_of_old_weights(self):
        with pytest.raises(ProtocolViolation):
            stage(version=2, evaluation_steps=frozenset({1}), evaluation_batches=1).evaluation_arrived(1, 0)

    def test_a_gradient_of_what_was_not_sent_or_came_before(self):
        middle = stage()
        middle.forward_arrived(1, 0)
        with pytest.raises(ProtocolViolation):
            middle.backward_arrived(1, 0)
        middle.choose()
        with pytest.raises(ProtocolViolation):
            middle.backward_arrived(2, 0)
        middle.backward_arrived(1, 0)
        with pytest.raises(ProtocolViolation):
            middle.backward_arrived(1, 0)

    def test_the_ends_have_no_neighbour_outside(self):
        first, last = stage(0, evaluation_steps=frozenset({0}), evaluation_batches=1), stage(2)
        last.forward_arrived(1, 0)
        assert last.choose() == Forward(1, 0)
        for call, step in (
            (first.forward_arrived, 1),
            (first.evaluation_arrived, 0),
            (last.backward_arrived, 1),
        ):
            with pytest.raises(ProtocolViolation):
                call(step, 0)

    def test_a_refusal_changes_nothing(self):
        middle = stage()
        with pytest.raises(ProtocolViolation):
            middle.forward_arrived(1, 7)
        middle.forward_arrived(1, 0)
        assert drain(middle) == [Forward(1, 0)]

    @pytest.mark.parametrize(
        "wrong", [{"index": 3}, {"micro_batches": 0}, {"credit": 0}, {"version": 4}, {"index": -1}, {"deferral": -1}]
    )
    def test_numbers_of_no_stage(self, wrong):
        with pytest.raises(ValueError, match="no such stage"):
            stage(**wrong)


class TestWaitingFor:
    def test_it_says_what_is_missing(self):
        middle = stage(credit=1, steps=1, evaluation_steps=frozenset({1}), evaluation_batches=1)
        assert middle.waiting_for() == "a gradient or a forward of step 1; 0 of 1 credits are used"
        middle.forward_arrived(1, 0)
        middle.forward_arrived(1, 1)
        middle.choose()
        assert middle.waiting_for() == "a gradient of step 1; 1 of 1 credits are used"
        middle.backward_arrived(1, 0)
        drain(middle)
        middle.backward_arrived(1, 1)
        drain(middle)
        assert middle.waiting_for() == "an evaluation batch of step 1"
        middle.evaluation_arrived(1, 0)
        drain(middle)
        assert middle.waiting_for() == "nothing: all steps are committed"


class Chain:
    """A whole pipeline in one process: messages are delivered, and stages asked, in any order at all."""

    def __init__(self, machines: list[FlowStage], random: Random) -> None:
        self.machines = machines
        self.random = random
        self.done: list[list[Action]] = [[] for _ in machines]
        self.flying: list[tuple[int, str, int, int]] = []
        self.asking = set(range(len(machines)))

    def run(self) -> None:
        while moves := [*self.flying, *sorted(self.asking)]:
            move = self.random.choice(moves)
            if isinstance(move, int):
                self.ask(move)
            else:
                self.deliver(move)

    def deliver(self, message: tuple[int, str, int, int]) -> None:
        self.flying.remove(message)
        to, kind, step, number = message
        getattr(self.machines[to], f"{kind}_arrived")(step, number)
        self.asking.add(to)

    def ask(self, at: int) -> None:
        action = self.machines[at].choose()
        if action is None:
            self.asking.discard(at)
            return
        self.done[at].append(action)
        machine = self.machines[at]
        assert machine.held <= machine.credit
        assert machine.deferred <= machine.deferral
        # What memory is kept free for: a deferred one counts as two.
        assert machine.held + 2 * machine.deferred <= max(machine.credit, 2 * machine.deferral)
        self.flying += [message for message in sent(at, action) if 0 <= message[0] < len(self.machines)]


def sent(at: int, action: Action) -> Iterator[tuple[int, str, int, int]]:
    match action:
        case Forward(step, number):
            yield at + 1, "forward", step, number
        case Backward(step, number):
            yield at - 1, "backward", step, number
        case Evaluate(step, number):
            yield at + 1, "evaluation", step, number
        case Commit() | Weigh():
            pass


@settings(deadline=None, max_examples=150)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_interleaving_finishes_with_every_step_committed_once_from_the_exact_set(data, seed):
    stages = data.draw(st.integers(1, 4), "stages")
    micro_batches = data.draw(st.integers(1, 4), "micro-batches")
    steps = data.draw(st.integers(0, 3), "steps")
    batches = data.draw(st.integers(0, 2), "evaluation batches")
    evaluated = data.draw(st.frozensets(st.integers(0, steps)), "evaluation steps")
    machines = [
        FlowStage(
            stage=index,
            stages=stages,
            micro_batches=micro_batches,
            steps=steps,
            credit=data.draw(st.integers(1, 5), f"credit of stage {index}"),
            deferral=data.draw(st.integers(0, 5), f"deferral of stage {index}"),
            evaluation_steps=evaluated,
            evaluation_batches=batches,
        )
        for index in range(stages)
    ]
    chain = Chain(machines, Random(seed))
    chain.run()
    assert all(machine.done and machine.held == 0 for machine in machines)
    for actions in chain.done:
        assert by_version(actions) == expected(steps, micro_batches, evaluated if batches else frozenset(), batches)


def by_version(actions: list[Action]) -> list[tuple[list[int], list[int], list[int]]]:
    """Per weight version: which evaluations, forwards and backwards ran between two commits, sorted."""
    versions: list[tuple[list[int], list[int], list[int]]] = [([], [], [])]
    put_off: list[int] = []
    for action in actions:
        version = len(versions) - 1
        match action:
            case Commit(step):
                assert (step, put_off) == (version + 1, [])
                versions.append(([], [], []))
            case Evaluate(step, number):
                assert step == version
                assert not versions[-1][1]
                versions[-1][0].append(number)
            case Forward(step, number):
                assert step == version + 1
                versions[-1][1].append(number)
            case Backward(step, number, split):
                assert step == version + 1
                assert number in versions[-1][1]
                (put_off if split else versions[-1][2]).append(number)
            case Weigh(step, number):
                assert step == version + 1
                assert number == put_off.pop(0)
                versions[-1][2].append(number)
    return [(sorted(e), sorted(f), sorted(b)) for e, f, b in versions]


def expected(steps, micro_batches, evaluated, batches):
    whole = list(range(micro_batches))
    looks = [list(range(batches)) if version in evaluated else [] for version in range(steps + 1)]
    return [(looks[version], whole, whole) for version in range(steps)] + [(looks[steps], [], [])]
