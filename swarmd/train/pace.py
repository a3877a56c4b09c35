"""What a stage measures while it works, and the credit and the deferral that follow for its next step.

Nothing is asked of the neighbours: the way of a micro-batch through all stages and links behind this one ends
here again, as its gradient. Of each time the shortest of a step counts. It is the micro-batch's that met no queue, so
credits do not grow because there are queues, which credits make.
"""

from __future__ import annotations

from collections import deque
from math import inf

from swarmd.protocols.tensors import Direction
from swarmd.scheduler.credit import credit_for, deferral_for

STEPS = 4
"""So many steps count. The highest credit that one asked for is used, and the lowest deferral: the cheaper error."""
WEIGHTS_PER_STAGE = 3
"""Until it is measured: a stage waits for forward and backward of each before it; weights are a third of both."""


class Pace:
    """Times of one stage, in seconds; ``room`` is the micro-batches that memory was kept free for.

    The credit never falls below the planned one: its memory is kept anyway, and serves when a stage is disturbed.

    A deferred micro-batch takes the room of two: what its forward left, and about as much in gradients. When the
    first is put off all others have gone forward, so a step needs room for its credit, or for twice its
    deferral, and never for both.
    """

    def __init__(self, *, stage: int, stages: int, most: int, credit: int, room: int, defers: bool = True) -> None:
        """``most``: the micro-batches that can be held at all (``most_held``); ``defers``: whether backward splits."""
        room = max(room, credit)
        self._most = min(room, most)
        self._most_deferred = min(room // 2, most) if stage and defers else 0
        self._last = stage == stages - 1
        self.credit = self._planned = min(credit, self._most)
        self.deferral = min(self._most_deferred, WEIGHTS_PER_STAGE * stage + 1)
        self._forward = self._backward = self._weights = self._away = inf
        self._gap = 0.0
        self._left: dict[tuple[int, int], float] = {}
        self._ended: float | None = None
        self._step = 0
        self._credits: deque[int] = deque(maxlen=STEPS)
        self._deferrals: deque[int] = deque(maxlen=STEPS)

    def arrived(self, direction: int, step: int, micro_batch: int, at: float) -> None:
        """A frame came. A step's first forward comes when all of the step before have gone back from here."""
        if direction == Direction.BACKWARD and (step, micro_batch) in self._left:
            self._away = min(self._away, at - self._left.pop((step, micro_batch)))
        elif direction == Direction.FORWARD and step > self._step:
            self._step = step
            if self._ended is not None:
                self._gap = max(0.0, at - self._ended)

    def forward(self, step: int, micro_batch: int, began: float, ended: float) -> None:
        """A forward pass was computed."""
        self._forward = min(self._forward, ended - began)
        if not self._last:
            self._left[step, micro_batch] = ended

    def backward(self, began: float, ended: float, *, split: bool) -> None:
        """A backward pass was computed, or its first part."""
        self._ended = ended
        if not split:
            self._backward = min(self._backward, ended - began)

    def weigh(self, began: float, ended: float) -> None:
        """The second part of one was computed."""
        self._weights = min(self._weights, ended - began)

    def commit(self) -> None:
        """A step is over: set ``credit`` and ``deferral`` for the next."""
        own = self._forward + min(self._backward, 3 * self._weights)
        if 0 < own < inf and self._away < inf:
            self._credits.append(credit_for(own=own, away=self._away))
            self.credit = min(self._most, max(self._planned, *self._credits))
        weights = self._weights if self._weights < inf else self._backward / 2
        if 0 < weights < inf and self._gap:
            self._deferrals.append(deferral_for(gap=self._gap, weights=weights))
            self.deferral = min(self._most_deferred, min(self._deferrals))
        self._forward = self._backward = self._weights = self._away = inf
