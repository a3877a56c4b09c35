"""One replica among the others: what waits, what is kept, and what no honest replica says."""

from __future__ import annotations

import struct

import pytest
import torch

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.tensors import Direction
from swarmd.scheduler.group import ReplicaGroup
from swarmd.train.outbox import Notice
from swarmd.train.parts import PartIn, part_slices
from swarmd.train.replica import Heard, Replica
from swarmd.train.stage import StageStep
from swarmd.train.sums import ExactSums


class Room:
    """Slots, which are used up."""

    def __init__(self, free=1000):
        self.free, self.sent = free, []

    def __call__(self, notice):
        if not self.free:
            return False
        self.free -= 1
        self.sent.append(notice)
        return True


class FakeStage:
    """A last stage of three weights, which keeps sums and losses and computes nothing."""

    def __init__(self, last=True):
        self.last, self.sums = last, ExactSums({"w": (3,)}, 2, torch.device("cpu"))
        self.closed = {}
        self.loss_of = lambda step, index: 0.5 if last else 0.0
        self.own_part = lambda numbers, most: part_slices(self.sums, numbers, 16)
        self.open_part = lambda numbers: PartIn(numbers, self.sums)

    def commit(self, step):
        return StageStep(None, ())

    def close_part(self, part, losses):
        assert part.whole
        self.closed.update(losses)


def pair(last=True, version=0):
    stage = FakeStage(last)
    return stage, Replica(stage, ReplicaGroup(own=4, others=(5,), micro_batches=2, version=version), (5,))


def counted(index, step=1, loss=0.25):
    values = memoryview(struct.pack("<d", loss))
    return Heard(5, Direction.COUNTED, step, index, values, lambda: None)


def part(*values, step=1, index=0, released=None):
    packed = memoryview(struct.pack(f"<{len(values)}d", *values))
    return Heard(
        5, Direction.PART, step, index, packed, lambda: released.append(index) if released is not None else None
    )


def test_each_micro_batch_is_told_with_its_loss_and_the_part_follows_in_slices():
    _, replica = pair()
    room = Room()
    replica.counted(0)
    replica.counted(1)
    replica.outbox.send(room)
    told = [Notice(5, Direction.COUNTED, 1, index, struct.pack("<d", 0.5)) for index in (0, 1)]
    assert room.sent[:2] == told
    assert [(each.direction, each.index, len(each.values)) for each in room.sent[2:]] == [
        (Direction.PART, 0, 16),
        (Direction.PART, 1, 8),
    ]


def test_a_step_is_whole_once_all_parts_are_here_and_ours_has_left():
    stage, replica = pair()
    replica.counted(0)
    replica.heard(counted(1))
    for frame in (part(1.0, 2.0), part(3.0, index=1)):
        assert not replica.whole
        replica.heard(frame)
    assert not replica.whole
    room = Room(free=2)
    replica.outbox.send(room)
    assert not replica.whole
    room.free = 1
    replica.outbox.send(room)
    assert replica.whole
    assert stage.closed == {1: 0.25}
    replica.commit(1)
    assert not replica.whole


def test_what_is_missing_is_told():
    _, replica = pair()
    assert replica.waiting_for() == "2 micro-batches of step 1"


def test_a_part_of_the_next_step_stays_in_its_slot_until_the_commit():
    _, replica = pair()
    released = []
    for index in (0, 1):
        replica.heard(counted(index))
    for frame in (part(1.0, 2.0, 3.0), counted(0, step=2), counted(1, step=2)):
        replica.heard(frame)
    replica.heard(part(4.0, 5.0, 6.0, step=2, released=released))
    assert released == []
    replica.outbox.send(Room())
    assert replica.whole
    replica.commit(1)
    assert released == [0]
    replica.outbox.send(Room())
    assert replica.whole


def test_nothing_is_counted_once_a_part_has_begun():
    _, replica = pair()
    replica.heard(counted(0))
    replica.heard(part(1.0))
    with pytest.raises(ProtocolViolation, match="once its part has begun"):
        replica.heard(counted(1))


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), -1e300])
def test_a_loss_is_a_finite_float32(loss):
    with pytest.raises(ProtocolViolation, match="impossible loss"):
        pair()[1].heard(counted(0, loss=loss))


def test_only_the_last_stage_has_losses():
    pair(last=False)[1].heard(counted(0, loss=0.0))
    with pytest.raises(ProtocolViolation, match="impossible loss"):
        pair(last=False)[1].heard(counted(0, loss=0.1))


@pytest.mark.parametrize("size", [0, 7, 16])
def test_a_word_has_one_loss(size):
    frame = Heard(5, Direction.COUNTED, 1, 0, memoryview(bytes(size)), lambda: None)
    with pytest.raises(ProtocolViolation, match="with no loss"):
        pair()[1].heard(frame)
