"""The group of a stage's replicas: a step is whole when the parts are exactly its set, whatever order words come in."""

from __future__ import annotations

from collections import defaultdict, deque
from itertools import permutations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.group import Give, ReplicaGroup, Tell, Whole


def group(micro_batches: int = 3, others: tuple[int, ...] = (1,), version: int = 0) -> ReplicaGroup:
    return ReplicaGroup(own=0, others=others, micro_batches=micro_batches, version=version)


def sets(*micro_batches: int) -> frozenset[int]:
    return frozenset(micro_batches)


class TestOneStep:
    def test_a_part_is_given_when_all_that_was_told_is_the_steps_set(self):
        here = group()
        assert here.counted(2) == (Tell(1, 2),)
        assert here.told(1, 1, 0) == ()
        assert here.counted(1) == (Tell(1, 1), Give(1, sets(1, 2)))
        assert here.part_arrived(1, 1) == (Whole(1),)
        assert here.committed(1) == ()
        assert here.version == 1

    def test_another_may_see_the_full_set_first(self):
        here = group(2, others=(1, 2))
        here.told(1, 1, 0)
        assert here.part_arrived(1, 1) == ()
        assert here.told(2, 1, 1) == (Give(1, sets()),)
        assert here.share(2) == sets(1)
        assert here.part_arrived(2, 1) == (Whole(1),)

    def test_a_replica_that_got_nothing_gives_an_empty_part(self):
        here = group(1)
        assert here.told(1, 1, 0) == (Give(1, sets()),)

    def test_one_that_got_everything_waits_for_empty_parts(self):
        here = group(1, others=(5, 7), version=8)
        assert here.counted(0) == (Tell(9, 0), Give(9, sets(0)))
        assert here.part_arrived(7, 9) == ()
        assert here.part_arrived(5, 9) == (Whole(9),)

    @pytest.mark.parametrize("order", list(permutations(range(3))))
    def test_the_order_of_replicas_changes_nothing(self, order):
        here = group(3, others=(1, 2, 3))
        given = [word for each in order for word in here.told(each + 1, 1, each)]
        assert given == [Give(1, sets())]
        whole = [word for each in order for word in here.part_arrived(each + 1, 1)]
        assert whole == [Whole(1)]


class TestAhead:
    def test_words_of_the_next_step_are_kept_until_this_one_is_committed(self):
        here = group(1)
        here.told(1, 1, 0)
        assert here.told(1, 2, 0) == ()
        assert here.part_arrived(1, 1) == (Whole(1),)
        assert here.part_arrived(1, 2) == ()
        assert here.committed(1) == (Give(2, sets()), Whole(2))
        assert here.committed(2) == ()

    @pytest.mark.parametrize("step", [0, 3])
    def test_nobody_is_two_steps_ahead_or_behind(self, step):
        with pytest.raises(ProtocolViolation, match="the group is at step 0"):
            group().told(1, step, 0)
        with pytest.raises(ProtocolViolation, match="the group is at step 0"):
            group().part_arrived(1, step)

    def test_a_step_is_over_only_when_it_is_whole(self):
        here = group(1)
        here.told(1, 1, 0)
        for step in (1, 2):
            with pytest.raises(ValueError, match="cannot be over"):
                here.committed(step)


class TestLies:
    @pytest.mark.parametrize("micro_batch", [-1, 3])
    def test_a_micro_batch_of_no_step(self, micro_batch):
        with pytest.raises(ProtocolViolation, match="no step has it"):
            group().told(1, 1, micro_batch)

    def test_a_micro_batch_counted_twice_names_both(self):
        here = group(others=(1, 2))
        here.told(1, 1, 0)
        here.counted(1)
        for replica, micro_batch, pair in ((2, 0, "1 and 2"), (1, 0, "1 and 1"), (2, 1, "0 and 2")):
            with pytest.raises(ProtocolViolation, match=f"twice, by replicas {pair}"):
                here.told(replica, 1, micro_batch)
        with pytest.raises(ProtocolViolation, match="twice, by replicas 1 and 0"):
            here.counted(0)

    def test_anything_after_a_part(self):
        here = group()
        here.part_arrived(1, 1)
        with pytest.raises(ProtocolViolation, match="after its part"):
            here.told(1, 1, 0)
        with pytest.raises(ProtocolViolation, match="a second part"):
            here.part_arrived(1, 1)

    @pytest.mark.parametrize("stranger", [0, 2])
    def test_a_stranger_or_ourselves(self, stranger):
        with pytest.raises(ProtocolViolation, match=f"a word of replica {stranger}"):
            group().told(stranger, 1, 0)


def test_what_is_missing_is_told_in_words():
    here = group(2)
    here.counted(0)
    assert here.waiting_for() == "1 micro-batches of step 1"
    here.counted(1)
    assert here.waiting_for() == "the parts of replicas [1] of step 1"


@pytest.mark.parametrize("numbers", [{"others": ()}, {"others": (0,)}, {"others": (1,), "micro_batches": 0}])
def test_numbers_of_no_group(numbers):
    with pytest.raises(ValueError, match="a group has another replica"):
        group(**numbers)


class Groups(RuleBasedStateMachine):
    """Some replicas, a queue from each to each, and whoever is ready takes a micro-batch."""

    def __init__(self):
        super().__init__()
        self.machines, self.queues, self.left, self.due, self.merged = [], {}, {}, [], defaultdict(set)

    @initialize(count=st.integers(2, 4), micro_batches=st.integers(1, 5))
    def start(self, count, micro_batches):
        everyone = range(count)
        self.all = set(range(micro_batches))
        self.left = defaultdict(self.all.copy)
        self.machines = [
            ReplicaGroup(own=own, others=set(everyone) - {own}, micro_batches=micro_batches) for own in everyone
        ]
        self.queues = {pair: deque() for pair in permutations(everyone, 2)}
        self.due = [deque() for _ in everyone]

    @rule(data=st.data())
    def count(self, data):
        own = data.draw(st.integers(0, len(self.machines) - 1))
        if left := self.left[self.machines[own].version + 1]:
            self._count(own, data.draw(st.sampled_from(sorted(left))))

    @precondition(lambda self: any(self.queues.values()))
    @rule(data=st.data())
    def deliver(self, data):
        self._deliver(*data.draw(st.sampled_from([pair for pair, queue in self.queues.items() if queue])))

    @precondition(lambda self: any(self.due))
    @rule(data=st.data())
    def commit(self, data):
        self._commit(data.draw(st.sampled_from([own for own, due in enumerate(self.due) if due])))

    @invariant()
    def nobody_is_two_steps_ahead(self):
        versions = [machine.version for machine in self.machines] or [0]
        assert max(versions) - min(versions) <= 1

    def teardown(self):
        """Left alone, the replicas end every step that one of them began."""
        for own, machine in enumerate(self.machines):
            for micro_batch in sorted(self.left[machine.version + 1]):
                self._count(own, micro_batch)
        while any(self.queues.values()) or any(self.due):
            for pair in (pair for pair, queue in self.queues.items() if queue):
                self._deliver(*pair)
            for own in (own for own, due in enumerate(self.due) if due):
                self._commit(own)
        assert len({machine.version for machine in self.machines}) <= 1

    def _count(self, own, micro_batch):
        machine = self.machines[own]
        self.left[machine.version + 1].remove(micro_batch)
        self._carry_out(own, machine.counted(micro_batch))

    def _deliver(self, a, b):
        word = self.queues[a, b].popleft()
        if isinstance(word, Tell):
            return self._carry_out(b, self.machines[b].told(a, word.step, word.micro_batch))
        assert not self.merged[b, word.step] & word.micro_batches
        self.merged[b, word.step] |= word.micro_batches
        self._carry_out(b, self.machines[b].part_arrived(a, word.step))

    def _commit(self, own):
        self._carry_out(own, self.machines[own].committed(self.due[own].popleft()))

    def _carry_out(self, own, words):
        for word in words:
            if isinstance(word, Whole):
                assert self.merged[own, word.step] | self.machines[own].share(own) == self.all
                self.due[own].append(word.step)
            else:
                for other in set(range(len(self.machines))) - {own}:
                    self.queues[own, other].append(word)


TestGroups = pytest.mark.slow(Groups.TestCase)
TestGroups.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
