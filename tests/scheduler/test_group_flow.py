"""Pipelines whose stages have replicas: the flow machine and the group together, under any order of messages."""

from __future__ import annotations

from collections import defaultdict, deque
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.flow import Backward, Commit, Evaluate, FlowStage, Forward
from swarmd.scheduler.group import Give, ReplicaGroup, Tell, Whole


def replica(index: int = 1, of: int = 3, **more: object) -> FlowStage:
    fields = {"micro_batches": 3, "steps": 4, "credit": 3, "shared": True, **more}
    return FlowStage(stage=index, stages=of, **fields)


class TestOneReplica:
    def test_it_commits_what_it_got_when_the_step_is_whole(self):
        last = replica(2)
        last.forward_arrived(1, 2)
        assert list(iter(last.choose, None)) == [Forward(1, 2), Backward(1, 2)]
        assert "or the other replicas" in last.waiting_for()
        last.whole(1)
        assert last.choose() == Commit(1)
        assert last.version == 1

    def test_one_that_got_nothing_commits_too_and_waits_for_each_step_anew(self):
        middle = replica()
        middle.whole(1)
        assert list(iter(middle.choose, None)) == [Commit(1)]

    def test_a_first_stage_begins_what_it_was_dealt(self):
        first = replica(0, dealt=[1])
        assert list(iter(first.choose, None)) == [Forward(1, 1)]
        first.backward_arrived(1, 1)
        assert list(iter(first.choose, None)) == [Backward(1, 1)]
        first.whole(1)
        assert list(iter(first.choose, None)) == [Commit(1), Forward(2, 1)]

    def test_the_head_ends_an_evaluation_before_it_commits_what_the_others_did_meanwhile(self):
        head = replica(evaluation_steps=frozenset({0}), evaluation_batches=1)
        head.whole(1)
        assert head.choose() is None
        head.evaluation_arrived(0, 0)
        assert list(iter(head.choose, None)) == [Evaluate(0, 0), Commit(1)]

    def test_it_splits_no_backward(self):
        last = replica(2, micro_batches=1, deferral=1)
        last.forward_arrived(1, 0)
        assert list(iter(last.choose, None)) == [Forward(1, 0), Backward(1, 0)]

    def test_inputs_of_three_steps_are_kept_and_no_more(self):
        middle = replica()
        for step in (1, 2, 3):
            middle.forward_arrived(step, 0)
        with pytest.raises(ProtocolViolation, match="a forward of step 4"):
            middle.forward_arrived(4, 0)

    @pytest.mark.parametrize("step", [0, 2])
    def test_only_the_step_at_hand_is_whole(self, step):
        with pytest.raises(ProtocolViolation, match=f"step {step} is not whole"):
            replica().whole(step)

    def test_a_step_is_not_whole_twice_nor_at_a_stage_of_one_peer(self):
        middle = replica()
        middle.whole(1)
        for machine in (middle, replica(shared=False)):
            with pytest.raises(ProtocolViolation, match="step 1 is not whole"):
                machine.whole(1)

    def test_a_step_is_not_whole_while_one_of_its_micro_batches_is_here(self):
        """The sender gave one to two replicas."""
        middle = replica()
        middle.forward_arrived(1, 0)
        for _ in ("waiting", "held"):
            with pytest.raises(ProtocolViolation, match="step 1 is not whole"):
                middle.whole(1)
            middle.choose()


class Swarm:
    """Members are (stage, number); everything that can happen next happens in some order."""

    def __init__(self, shape, random, *, micro_batches, steps, evaluated, batches, draw_credit, late=None):
        """``late``: words from the first member to the second come only when nothing else can happen."""
        self.late = late
        self.shape, self.random = shape, random
        self.flows, self.groups, self.queues = {}, {}, defaultdict(deque)
        self.origins, self.done = {}, defaultdict(list)
        self.farthest = 0
        dealt = [random.randrange(shape[0]) for _ in range(micro_batches)]
        for stage, count in enumerate(shape):
            for number in range(count):
                me = (stage, number)
                self.flows[me] = FlowStage(
                    stage=stage,
                    stages=len(shape),
                    micro_batches=micro_batches,
                    steps=steps,
                    credit=draw_credit(),
                    evaluation_steps=evaluated,
                    evaluation_batches=0 if number else batches,
                    shared=count > 1,
                    dealt=[each for each, owner in enumerate(dealt) if owner == number],
                )
                if count > 1:
                    others = set(range(count)) - {number}
                    self.groups[me] = ReplicaGroup(own=number, others=others, micro_batches=micro_batches)

    def run(self):
        asking = set(self.flows)
        while moves := [*sorted(asking), *(pair for pair, queue in self.queues.items() if queue)]:
            move = self.random.choice([each for each in moves if each[:2] != self.late] or moves)
            if move in self.flows:
                action = self.flows[move].choose()
                if action is None:
                    asking.discard(move)
                else:
                    self.acted(move, action)
            else:
                sender, to, _ = move
                self.arrived(sender, to, self.queues[move].popleft())
                asking.add(to)

    def send(self, sender, to, message):
        """Frames overtake each other, as they do on several links; what a replica says to another does not."""
        self.queues[sender, to, "" if isinstance(message, Tell | Give) else message].append(message)

    def acted(self, me, action):
        stage = me[0]
        self.done[me].append(action)
        group = self.groups.get(me)
        match action:
            case Forward() if stage + 1 < len(self.shape):
                self.send(me, (stage + 1, self.random.randrange(self.shape[stage + 1])), action)
            case Evaluate() if stage + 1 < len(self.shape):
                self.send(me, (stage + 1, 0), action)
            case Backward(step, micro_batch):
                if stage:
                    self.send(me, self.origins.pop((me, step, micro_batch)), action)
                if group:
                    self.say(me, group.counted(micro_batch))
            case Commit(step) if group:
                self.say(me, group.committed(step))

    def say(self, me, words):
        for word in words:
            if isinstance(word, Whole):
                self.flows[me].whole(word.step)
            else:
                for other in set(range(self.shape[me[0]])) - {me[1]}:
                    self.send(me, (me[0], other), word)

    def arrived(self, sender, me, message):
        flow = self.flows[me]
        match message:
            case Forward(step, micro_batch):
                self.farthest = max(self.farthest, step - flow.version)
                self.origins[me, step, micro_batch] = sender
                flow.forward_arrived(step, micro_batch)
            case Backward(step, micro_batch):
                flow.backward_arrived(step, micro_batch)
            case Evaluate(step, batch):
                flow.evaluation_arrived(step, batch)
            case Tell(step, micro_batch):
                self.say(me, self.groups[me].told(sender[1], step, micro_batch))
            case Give(step):
                self.say(me, self.groups[me].part_arrived(sender[1], step))


def made(seed, shape=(1, 3, 1), **more):
    random = Random(seed)
    fields = {"micro_batches": 3, "steps": 4, "evaluated": frozenset(), "batches": 0, "draw_credit": lambda: 3}
    swarm = Swarm(shape, random, **{**fields, **more})
    swarm.run()
    return swarm


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_any_interleaving_commits_every_step_once_from_the_exact_set(data, seed):
    shape = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=4), "shape")
    micro_batches, steps = data.draw(st.integers(1, 5), "micro-batches"), data.draw(st.integers(1, 3), "steps")
    evaluated = data.draw(st.frozensets(st.integers(0, steps)), "evaluation steps")
    batches = data.draw(st.integers(0, 2), "evaluation batches")
    swarm = made(
        seed,
        shape,
        micro_batches=micro_batches,
        steps=steps,
        evaluated=evaluated,
        batches=batches,
        draw_credit=lambda: data.draw(st.integers(1, 4), "credit"),
    )
    assert all(flow.done and flow.held == 0 for flow in swarm.flows.values())
    everything = sorted((step, each) for step in range(1, steps + 1) for each in range(micro_batches))
    looks = sorted((step, batch) for step in evaluated for batch in range(batches))
    for stage, count in enumerate(shape):
        actions = [swarm.done[stage, number] for number in range(count)]
        assert all([each for each in own if isinstance(each, Commit)] == list(map(Commit, range(1, steps + 1)))
                   for own in actions)  # fmt: skip
        backwards = [(each.step, each.micro_batch) for own in actions for each in own if isinstance(each, Backward)]
        assert sorted(backwards) == everything
        evaluations = [(each.step, each.batch) for own in actions for each in own if isinstance(each, Evaluate)]
        assert sorted(evaluations) == looks
        assert all(before(own, each) for own in actions for each in own)


def before(actions, action):
    """Work of a step lies between the commits that it belongs between."""
    committed = sum(isinstance(each, Commit) for each in actions[: actions.index(action)])
    return action.step == committed + (not isinstance(action, Evaluate))


def test_a_sender_may_be_two_steps_ahead_of_a_replica_that_waits_for_a_part():
    late = ((1, 1), (1, 0))
    assert max(made(seed, (1, 2, 1), micro_batches=1, late=late).farthest for seed in range(20)) == 3
