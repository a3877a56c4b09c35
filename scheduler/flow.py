"""The schedules ``flow-sync`` and ``flow-async``: what one stage does next, decided from what has arrived.

No table is made beforehand. A stage looks at what is ready and takes the first of:

    1. a forward of step ``version + 1``         right after a backward, so that the credit is used again at once
    2. a backward whose gradient has arrived     frees memory here, and feeds the stage before
    3. the commit of step ``version + 1``        when all its micro-batches have been through backward
    4. an evaluation batch of ``version``        while that version's evaluation is not through
    5. a forward of step ``version + 1``         while fewer micro-batches are held than the credit
    6. a weight gradient that was put off        it feeds nobody, so it fills the time of waiting
    7. nothing                                   until something arrives

Without the first rule, gradients that come faster than they are used here would starve the stages behind: those have
nothing left to do just when their last backwards are short, because they are split.

``version`` counts the steps committed here. What a micro-batch of a step goes through at one stage:

    state      leaves it by                what that means
    absent     ``forward_arrived``         its input is here; the first stage makes its own
    waiting    ``choose`` gives Forward    computed; its activations are held and use one credit
    held       ``backward_arrived``        its output's gradient is here; the last stage makes its own
    ready      ``choose`` gives Backward   whole: its gradient is in the step's sum; the credit is free again
               or a split Backward         deferred: its input's gradient has left, its weights' is put off
    deferred   ``choose`` gives Weigh      its weights' gradient is in the step's sum
    summed     ``choose`` gives Commit     with all the others: ``version`` is one higher

The last ``deferral`` backwards of a step are split, and put off in their order. They are those that make the first
stage's commit late, and with it all forwards of the next step: while a stage waits for these it has the weight
gradients to compute (the tail of Zero Bubble, Qi et al. 2023). Nobody waits for the first stage's input
gradients, so it splits none. Split ones are all at the end and leave in order, so micro-batches that come in order
are summed in order.

An evaluation batch is only absent, waiting, then evaluated: it holds nothing. Weights change at a commit
alone, so all evaluations of version t come after the commit of step t and before the forwards of step t + 1.

There is no barrier between stages: the last stage may commit while the first still waits for
gradients. A stage that has committed can be one step ahead of the stage it sends to, never two, because its
commit needed that stage's backwards. So inputs of step ``version + 2`` are kept, and later ones are a lie.

A stage that several peers share (decision 13) is one machine at each of them, a replica. A replica gets some of a
step's micro-batches, and does not know beforehand how many. It commits when it is told that all replicas together are
through (``whole``), so it splits no backward: it cannot tell the last ones. The stage that sends to a slow replica may
be two steps ahead of it, because the others did a whole step meanwhile: inputs of ``version + 3`` are kept too.
In ``flow-async`` most steps are *stale*: their gradient is taken with the weights before the newest, so nothing of them
waits for the commit before (PipeDream-2BW, Narayanan et al. 2021). When all forwards of step ``version + 1`` are given
out and step ``version + 2`` is stale, its forwards follow, here and from the stage before, which may then
send step ``version + 3`` too. Backwards and sums are of step ``version + 1`` alone. Before a stale step no backward
is split, for no stage waits there; and a commit lets the evaluation of the version that it ends finish first.

The credit bounds what a stage holds, and by that what it sends ahead: at most its credit of forwards, and
one evaluation's batches, wait at the next stage. ``scheduler/credit.py`` gives the number that hides a link's delay.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

from swarmd.protocols.errors import ProtocolViolation
from swarmd.scheduler.inbox import Inbox


@dataclass(frozen=True, slots=True)
class Forward:
    """Run the forward pass of a micro-batch, hold its activations, send its output on."""

    step: int
    micro_batch: int


@dataclass(frozen=True, slots=True)
class Backward:
    """Run the backward pass of a held micro-batch, add its gradient, send its input's gradient back.

    ``split``: send the input's gradient and put the weights' off; a ``Weigh`` follows.
    """

    step: int
    micro_batch: int
    split: bool = False


@dataclass(frozen=True, slots=True)
class Weigh:
    """Run the part of a split backward pass that was put off, and add the micro-batch's gradient."""

    step: int
    micro_batch: int


@dataclass(frozen=True, slots=True)
class Commit:
    """Step the optimizer with the sum of exactly the step's micro-batches."""

    step: int


@dataclass(frozen=True, slots=True)
class Evaluate:
    """Run a held-out batch forward with the weights that step ``step`` left; hold nothing."""

    step: int
    batch: int


Action: TypeAlias = Forward | Backward | Weigh | Commit | Evaluate


def _never(step: int) -> bool:
    return False


class FlowStage:
    """The choice machine of one stage.

    ``choose`` counts what it gives as done: carry each action out before asking again. The ``*_arrived``
    methods raise ProtocolViolation for what no honest neighbour sends, and leave the machine as it was.
    """

    def __init__(
        self,
        *,
        stage: int,
        stages: int,
        micro_batches: int,
        steps: int,
        credit: int,
        deferral: int = 0,
        evaluation_steps: frozenset[int] = frozenset(),
        evaluation_batches: int = 0,
        version: int = 0,
        stale: Callable[[int], bool] = _never,
        shared: bool = False,
        dealt: Iterable[int] | None = None,
    ) -> None:
        """A stage whose loaded weights are of step ``version``.

        ``shared``: one of its replicas; a first stage's then has the ``dealt`` micro-batches of each step.

        ``evaluation_steps`` may hold 0, the untrained model. ``credit`` and ``deferral`` may be set anew after a
        commit. ``stale`` says which steps are (``ScheduleSpec.stale``); the first one here cannot be.
        Raises ValueError for numbers of no stage.
        """
        counts = micro_batches > 0 and credit > 0 and deferral >= 0
        if not (0 <= stage < stages and counts and 0 <= version <= steps) or (version < steps and stale(version + 1)):
            raise ValueError("no such stage: check stage, stages, micro_batches, credit, version and steps")
        self.version = version
        self.steps = steps
        self.credit = credit
        self.deferral = deferral
        self._first = stage == 0
        self._last = stage == stages - 1
        self._forwards = Inbox("micro-batch", micro_batches)
        self._evaluations = Inbox("evaluation batch", evaluation_batches)
        self._evaluation_steps = evaluation_steps if evaluation_batches else frozenset[int]()
        self._shared, self._whole = shared, False
        self._dealt = tuple(range(micro_batches) if dealt is None else dealt)
        self._stale = stale
        self._held: set[tuple[int, int]] = set()
        self._ready: defaultdict[int, deque[int]] = defaultdict(deque)
        self._deferred: deque[int] = deque()
        self._summed = 0
        self._went_back = False
        self._begin_version()

    @property
    def deferred(self) -> int:
        """Split micro-batches whose weight gradient is still to come; never more than ``deferral``."""
        return len(self._deferred)

    @property
    def held(self) -> int:
        """Micro-batches whose activations are in memory; never more than the credit."""
        return len(self._held) + sum(map(len, self._ready.values()))

    @property
    def done(self) -> bool:
        """Whether the last step is committed and its evaluation, if it has one, is through."""
        return self.version == self.steps and not self._evaluating

    def forward_arrived(self, step: int, micro_batch: int) -> None:
        """The stage before sent a micro-batch's activations."""
        ahead = self.version + 2 + self._shared
        ahead += self._stale(ahead + 1)
        if self._first or not self.version < step <= min(ahead, self.steps):
            raise ProtocolViolation(f"a forward of step {step} at a stage of version {self.version}")
        self._forwards.add(step, micro_batch)

    def evaluation_arrived(self, step: int, batch: int) -> None:
        """The stage before sent a held-out batch's activations, made with the weights of ``step``."""
        near = self.version <= step <= self.version + 1 + self._shared
        if self._first or not near or step not in self._evaluation_steps:
            raise ProtocolViolation(f"an evaluation of step {step} at a stage of version {self.version}")
        self._evaluations.add(step, batch)

    def backward_arrived(self, step: int, micro_batch: int) -> None:
        """The stage after sent the gradient of what we sent it."""
        if (step, micro_batch) not in self._held:
            raise ProtocolViolation(f"nothing here waits for gradient {micro_batch} of step {step}")
        self._held.remove((step, micro_batch))
        self._ready[step].append(micro_batch)

    def whole(self, step: int) -> None:
        """All replicas together are through the micro-batches of a step: commit it."""
        held = self._ready[step] or any(of == step for of, _ in self._held)
        left = held or self._forwards.waiting(step)
        if not self._shared or step != self.version + 1 or left or self._whole:
            raise ProtocolViolation(f"step {step} is not whole at a stage of version {self.version}")
        self._whole = True

    def choose(self) -> Action | None:
        """What to do now; None until something arrives, or for good once ``done``."""
        first = self._after_backward() or self._backward() or self._commit()
        action = first or self._evaluate() or self._forward() or self._weigh()
        if isinstance(action, Forward | Backward):
            self._went_back = isinstance(action, Backward)
        return action

    def waiting_for(self) -> str:
        """Why ``choose`` gave nothing, for people."""
        if self.done:
            return "nothing: all steps are committed"
        if self._evaluating:
            return f"an evaluation batch of step {self.version}"
        what = "a gradient" if self.held == self.credit else "a gradient or a forward"
        what += ", or the other replicas," if self._shared else ""
        return f"{what} of step {self.version + 1}; {self.held} of {self.credit} credits are used"

    @property
    def _evaluating(self) -> bool:
        return self.version in self._evaluation_steps and not self._evaluations.emptied(self.version)

    def _after_backward(self) -> Forward | None:
        return self._forward() if self._went_back else None

    def _backward(self) -> Backward | None:
        step = self.version + 1
        if not self._ready[step]:
            return None
        left = self._forwards.size - self._summed - self.deferred
        split = not (self._first or self._shared) and left <= self.deferral and not self._stale(step + 1)
        micro_batch = self._ready[step].popleft()
        if split:
            self._deferred.append(micro_batch)
        else:
            self._summed += 1
        return Backward(step, micro_batch, split)

    def _weigh(self) -> Weigh | None:
        if not self._deferred:
            return None
        self._summed += 1
        return Weigh(self.version + 1, self._deferred.popleft())

    def _commit(self) -> Commit | None:
        through = self._whole if self._shared else self._summed == self._forwards.size
        if not through or self._evaluating:
            return None
        self.version += 1
        self._summed, self._whole = 0, False
        self._ready.pop(self.version, None)
        self._forwards.forget(self.version)
        self._evaluations.forget(self.version - 1)
        self._begin_version()
        return Commit(self.version)

    def _evaluate(self) -> Evaluate | None:
        batch = self._evaluations.take(self.version) if self._evaluating else None
        return None if batch is None else Evaluate(self.version, batch)

    def _forward(self) -> Forward | None:
        if self.held >= self.credit or self._evaluating:
            return None
        step = self.version + 1
        if self._stale(step + 1) and self._forwards.emptied(step):
            step += 1
        micro_batch = self._forwards.take(step)
        if micro_batch is None:
            return None
        if self._last:
            self._ready[step].append(micro_batch)
        else:
            self._held.add((step, micro_batch))
        return Forward(step, micro_batch)

    def _begin_version(self) -> None:
        """The first stage is nobody's receiver: its inputs are there as soon as they may be used."""
        if self._first and self.version in self._evaluation_steps:
            self._evaluations.fill(self.version)
        for step, stale in ((self.version + 1, False), (self.version + 2, True)):
            if self._first and step <= self.steps and self._stale(step) == stale:
                for micro_batch in self._dealt:
                    self._forwards.add(step, micro_batch)
