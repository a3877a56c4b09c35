"""One of the replicas that train apart: its own micro-batches make its own step, and rounds bring all together.

What the others tell of a round may come before this replica has begun that round, and is kept; of a later round it
stays in its slot. So nobody is more than a round ahead, and what is kept has a size that the spec gives.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator

from swarmd.compute.layout import SHARE_BYTES
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.rounds import Round, next_round, round_of
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction
from swarmd.scheduler.around import Around
from swarmd.train.outbox import Notice, Outbox
from swarmd.train.replica import Heard
from swarmd.train.stage import Stage, StageStep


class ApartReplica:
    """One replica's steps and rounds; all in the thread that computes.

    Methods raise ProtocolViolation for what no honest replica says.
    """

    def __init__(self, spec: JobSpec, stage: Stage, around: Around) -> None:
        self._spec, self._stage, self._around = spec, stage, around
        self._own = len(spec.batch.of_lane(around.column, spec.lanes))
        self._left, self._step = self._own, stage.version + 1
        self._done: StageStep | None = None
        self._mine: dict[int, bytes] = {}
        self.outbox = Outbox()
        self._early: deque[Heard] = deque()
        self._open(next_round(spec, stage.version))

    def counted(self, micro_batch: int) -> None:
        """A micro-batch of the step at hand is in our sum; with the last one the step is made, and its round told."""
        self._left -= 1
        if self._left:
            return
        self._done = self._stage.commit(self._step)
        began = round_of(self._spec, self._step)
        if began is not None:
            self._mine[began.step] = told = self._stage.told(began)
            self.outbox.add(self._slices(began.step, told))

    def heard(self, frame: Heard) -> None:
        """Take a frame in, now or when its round is the next."""
        if frame.direction != Direction.TOLD or self._round is None or frame.step < self._round.step:
            raise ProtocolViolation(f"place {frame.sender} tells of step {frame.step}, which has no round now")
        if frame.step > self._round.step:
            self._early.append(frame)
            return
        told = self._told[frame.sender]
        told += frame.values
        if len(told) > self._stage.told_size(self._round):
            raise ProtocolViolation(f"place {frame.sender} tells more than a round has")
        frame.release()

    def commit(self, step: int) -> StageStep:
        """The step is over: use the round that is due with it."""
        made, self._done = self._done, None
        if made is None:
            raise ProtocolViolation(f"step {step} is not made")
        if self._round is not None and self._round.used == step:
            self._use(self._round)
        self._left, self._step = self._own, step + 1
        return made

    def close(self) -> None:
        """Its plan has ended: slots that frames wait in are free again."""
        for frame in self._early:
            frame.release()
        self._early.clear()

    @property
    def whole(self) -> bool:
        """Whether the step at hand may be committed: it is made, and the round that is due with it has all words."""
        if self._done is None:
            return False
        due = self._round is not None and self._round.used == self._step
        return self.outbox.empty and not (due and self.waiting_for())

    def waiting_for(self) -> str:
        """Whose words of the next round are missing, for people; empty if none are."""
        if self._round is None:
            return ""
        size = self._stage.told_size(self._round)
        late = [place for place, told in self._told.items() if len(told) < size]
        return f"what places {late} tell of step {self._round.step}" if late else ""

    def _use(self, of: Round) -> None:
        words: dict[int, bytes | bytearray] = {**self._told, self._around.place: self._mine.pop(of.step)}
        self._stage.use(of, [words[seat.place] for seat in self._around.beside])
        self._open(next_round(self._spec, of.step))

    def _open(self, following: Round | None) -> None:
        self._round = following
        self._told = {place: bytearray() for place in self._around.others}
        early, self._early = self._early, deque()
        for frame in early:
            self.heard(frame)

    def _slices(self, step: int, told: bytes) -> Iterator[Notice]:
        for number, begin in enumerate(range(0, len(told), SHARE_BYTES)):
            for to in self._around.others:
                yield Notice(to, Direction.TOLD, step, number, told[begin : begin + SHARE_BYTES])
