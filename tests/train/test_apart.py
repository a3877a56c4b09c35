"""One replica that trains apart: what it keeps, and what no honest replica tells."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.spec import AveragingSpec
from swarmd.protocols.tensors import Direction
from swarmd.scheduler.around import Around, Seat
from swarmd.train.apart import ApartReplica
from swarmd.train.replica import Heard
from swarmd.train.stage import StageStep
from tests.protocols.specs import SPEC

AROUND = Around(3, (), (Seat(3), Seat(4)), ())
APART = replace(
    SPEC,
    batch=replace(SPEC.batch, micro_batches=4),
    schedule=replace(SPEC.schedule, steps=9, checkpoint_every=9),
    averaging=AveragingSpec(replicas=2, every=4),
)
"""Each step but the one before the last begins a round; the last one has all units."""


class FakeStage:
    """Tells ten bytes in each round."""

    version = 0

    def __init__(self):
        self.used = []

    def commit(self, step):
        return StageStep(float(step), ())

    def told(self, of):
        return bytes([of.step]) * 10

    def told_size(self, of):
        return 10

    def use(self, of, told):
        self.used.append((of.step, [bytes(each) for each in told]))


@pytest.fixture
def stage():
    return FakeStage()


@pytest.fixture
def replica(stage):
    return ApartReplica(APART, stage, AROUND)


def word(step, values, *, direction=Direction.TOLD, released=None):
    kept = [] if released is None else released
    return Heard(4, direction, step, 0, memoryview(values), lambda: kept.append(step))


def stepped(replica, step):
    """All of this replica's micro-batches of a step, and all it has to say."""
    for micro_batch in (0, 2):
        replica.counted(micro_batch)
    sent = []
    replica.outbox.send(lambda notice: sent.append(notice) or True)
    return sent


def test_a_step_is_made_of_its_own_micro_batches_and_its_round_told(replica):
    replica.counted(0)
    assert not replica.whole
    (notice,) = stepped_rest(replica)
    assert (notice.to, notice.direction, notice.step, notice.values) == (4, Direction.TOLD, 1, b"\1" * 10)
    assert replica.whole
    assert replica.commit(1) == StageStep(1.0, ())


def stepped_rest(replica):
    replica.counted(2)
    sent = []
    replica.outbox.send(lambda notice: sent.append(notice) or True)
    return sent


def test_it_waits_for_room_before_it_goes_on(replica):
    for micro_batch in (0, 2):
        replica.counted(micro_batch)
    replica.outbox.send(lambda notice: False)
    assert not replica.whole


def test_what_is_told_of_a_step_is_used_with_the_next(replica, stage):
    stepped(replica, 1)
    replica.commit(1)
    stepped(replica, 2)
    assert not replica.whole
    assert replica.waiting_for() == "what places [4] tell of step 1"
    replica.heard(word(1, b"abcdefg"))
    replica.heard(word(1, b"hij"))
    assert replica.whole
    replica.commit(2)
    assert stage.used == [(1, [b"\1" * 10, b"abcdefghij"])]


def test_words_of_a_later_round_stay_in_their_slot(replica, stage):
    released = []
    replica.heard(word(2, b"0123456789", released=released))
    assert released == []
    stepped(replica, 1)
    replica.commit(1)
    replica.heard(word(1, bytes(10)))
    stepped(replica, 2)
    replica.commit(2)
    assert released == [2]
    assert replica.waiting_for() == ""


@pytest.mark.parametrize(
    "frame", [word(0, b"x"), word(1, b"x", direction=Direction.PART), word(1, bytes(11))], ids=["old", "part", "long"]
)
def test_words_that_no_round_has_are_refused(replica, frame):
    with pytest.raises(ProtocolViolation, match=r"no round now|more than a round has"):
        replica.heard(frame)


def test_a_step_that_is_not_made_is_not_committed(replica):
    with pytest.raises(ProtocolViolation, match="step 1 is not made"):
        replica.commit(1)


def test_after_the_last_round_nothing_is_heard(stage):
    stage.version = 9
    over = ApartReplica(APART, stage, AROUND)
    assert over.waiting_for() == ""
    with pytest.raises(ProtocolViolation, match="no round now"):
        over.heard(word(9, b"x"))
