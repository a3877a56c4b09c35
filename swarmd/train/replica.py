"""One replica of a stage among the others: its micro-batches are told, its part is given, and theirs are added.

``swarmd.scheduler.group`` says when, ``swarmd.train.parts`` does what; here both meet frames. What goes out waits here
until there is a slot for it, and what comes a step too early stays in its slot, so nobody's part takes memory of its
own.
"""

from __future__ import annotations

import struct
from collections import defaultdict, deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from swarmd.compute.layout import SHARE_BYTES
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.tensors import Direction
from swarmd.scheduler.group import Give, ReplicaGroup, Tell, Whole, Word
from swarmd.train.outbox import Notice, Outbox
from swarmd.train.parts import PartIn
from swarmd.train.stage import Stage, StageStep

LARGEST_LOSS = 3.5e38
"""A loss is a float32, so no sum of a step's losses overflows a float64."""
_LOSS = struct.Struct("<d")


@dataclass(frozen=True, slots=True)
class Heard:
    """A frame from another replica, in a slot that is free again once ``release`` is called."""

    sender: int
    direction: int
    step: int
    index: int
    values: memoryview
    release: Callable[[], None]


class Replica:
    """One replica's talk with the others; all in the thread that computes.

    Methods raise ProtocolViolation for what no honest replica says.
    """

    def __init__(self, stage: Stage, group: ReplicaGroup, others: tuple[int, ...]) -> None:
        self._stage, self._group, self._others = stage, group, others
        self.outbox = Outbox()
        self._losses: defaultdict[tuple[int, int], dict[int, float]] = defaultdict(dict)
        self._coming: dict[int, PartIn] = {}
        self._early: deque[Heard] = deque()
        self._whole = False

    def counted(self, micro_batch: int) -> None:
        """A micro-batch of the step at hand is in our sum."""
        self._carry_out(self._group.counted(micro_batch))

    def heard(self, frame: Heard) -> None:
        """Take a frame in, now or when its step is at hand."""
        if frame.direction == Direction.PART and frame.step != self._group.version + 1:
            self._early.append(frame)
            return
        self._take(frame)
        frame.release()

    def commit(self, step: int) -> StageStep:
        """Commit a step that is whole."""
        made = self._stage.commit(step)
        self._whole = False
        self._losses = defaultdict(dict, {key: each for key, each in self._losses.items() if key[1] > step})
        self._carry_out(self._group.committed(step))
        early, self._early = self._early, deque()
        for frame in early:
            self.heard(frame)
        return made

    def close(self) -> None:
        """Its plan has ended: slots that frames wait in are free again."""
        for frame in self._early:
            frame.release()
        self._early.clear()

    @property
    def whole(self) -> bool:
        """Whether the step at hand may be committed: every part is here, and our own has been read."""
        return self._whole and self.outbox.empty

    def waiting_for(self) -> str:
        """What is missing for the next commit, for people."""
        return self._group.waiting_for()

    def _take(self, frame: Heard) -> None:
        if frame.direction == Direction.COUNTED:
            self._told(frame)
        else:
            self._part(frame)

    def _told(self, frame: Heard) -> None:
        if len(frame.values) != _LOSS.size or frame.sender in self._coming:
            raise ProtocolViolation(f"place {frame.sender} counts more once its part has begun, or with no loss")
        (loss,) = _LOSS.unpack(frame.values)
        if not abs(loss) <= (LARGEST_LOSS if self._stage.last else 0.0):  # also true of a NaN
            raise ProtocolViolation(f"place {frame.sender} tells an impossible loss")
        words = self._group.told(frame.sender, frame.step, frame.index)
        self._losses[frame.sender, frame.step][frame.index] = loss
        self._carry_out(words)

    def _part(self, frame: Heard) -> None:
        part = self._coming.get(frame.sender) or self._stage.open_part(self._group.share(frame.sender))
        self._coming[frame.sender] = part
        part.add(frame.values)
        if part.whole:
            del self._coming[frame.sender]
            words = self._group.part_arrived(frame.sender, frame.step)
            self._stage.close_part(part, self._losses[frame.sender, frame.step])
            self._carry_out(words)

    def _carry_out(self, words: tuple[Word, ...]) -> None:
        for word in words:
            match word:
                case Tell(step, micro_batch):
                    loss = _LOSS.pack(self._stage.loss_of(step, micro_batch))
                    notices = [Notice(to, Direction.COUNTED, step, micro_batch, loss) for to in self._others]
                    self.outbox.add(notices)
                case Give():
                    self.outbox.add(self._slices(word))
                case Whole():
                    self._whole = True

    def _slices(self, give: Give) -> Iterator[Notice]:
        for number, values in enumerate(self._stage.own_part(give.micro_batches, SHARE_BYTES)):
            for to in self._others:
                yield Notice(to, Direction.PART, give.step, number, values)
