"""One stage at work: the flow machine decides, the stage computes, frames come and go.

Nothing here waits or sends by itself: ``arrived`` takes frames in, ``turn`` does one action and hands
what it produced to the outlet. So the same code runs in the compute process and in a test's thread.
"""

from __future__ import annotations

import time
from math import fsum
from typing import Protocol

from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Load, Scored, Stepped, Stored, Work
from swarmd.protocols.checkpoint import UnitState
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.footprint import most_held
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction, FrameHeader
from swarmd.scheduler.flow import Action, Backward, Commit, Evaluate, FlowStage, Forward, Weigh
from swarmd.train.evaluate import evaluation_due
from swarmd.train.faults import strike
from swarmd.train.pace import Pace
from swarmd.train.stage import Stage


class Outlet(Protocol):
    """Where a stage's results go."""

    def tensor(self, direction: Direction, step: int, index: int, weight_version: int, tensor: Tensor) -> None:
        """Send a boundary tensor: BACKWARD to the stage before, all else to the next."""
        ...

    def report(self, message: object) -> None:
        """Tell the daemon."""
        ...

    def make_room(self) -> None:
        """Return when another checkpoint may be written; earlier ones are on the same disk."""
        ...


class StageRunner:
    """Runs one stage of one plan from its first version to the last step."""

    def __init__(self, load: Load, spec: JobSpec, stage: Stage, flow: FlowStage, blobs: BlobStore) -> None:
        self._load, self._spec, self._stage, self._flow, self._blobs = load, spec, stage, flow, blobs
        self._inputs: dict[tuple[int, int, int], Tensor] = {}
        self._scores: list[float] = []
        self._forward_ns = self._backward_ns = self._busy_ns = self._forwards = 0
        self._pace = Pace(
            stage=load.stage,
            stages=load.stages,
            most=most_held(spec),
            credit=load.credit,
            room=load.room,
            defers=stage.splits,
        )
        self._refresh()

    @property
    def done(self) -> bool:
        """Whether the last step is committed and scored."""
        return self._flow.done

    @property
    def version(self) -> int:
        """Steps committed."""
        return self._flow.version

    def arrived(self, header: FrameHeader, tensor: Tensor, at: float | None = None) -> None:
        """Take a neighbour's frame, which came at this ``time.perf_counter()``, or now.

        Raises ProtocolViolation for one that no honest neighbour sends now.
        """
        key = header.key
        backward = key.direction == Direction.BACKWARD
        here = (self._load.run, self._load.term, self._load.end if backward else self._load.first)
        if (key.run, key.term, key.boundary) != here or header.plan != self._load.plan:
            raise ProtocolViolation(f"a frame of another run, term, plan or boundary: {key}")
        if key.direction == Direction.FORWARD:
            self._flow.forward_arrived(key.step, key.micro_batch)
        elif backward:
            self._flow.backward_arrived(key.step, key.micro_batch)
        else:
            self._flow.evaluation_arrived(key.step, key.micro_batch)
        self._inputs[key.direction, key.step, key.micro_batch] = tensor
        self._pace.arrived(key.direction, key.step, key.micro_batch, time.perf_counter() if at is None else at)

    def turn(self, outlet: Outlet) -> bool:
        """Do the next action; False when there is none until something arrives."""
        action = self._flow.choose()
        if action is None:
            return False
        began = time.perf_counter_ns()
        self._act(action, outlet)
        self._busy_ns += time.perf_counter_ns() - began
        return True

    def work(self) -> Work:
        """Totals so far."""
        count = max(1, self._forwards)
        return Work(
            self._forwards,
            self._busy_ns,
            self._forward_ns // count,
            self._backward_ns // count,
            time.process_time_ns(),
        )

    def _act(self, action: Action, outlet: Outlet) -> None:
        match action:
            case Forward(step, index):
                self._forward(step, index, outlet)
            case Backward(step, index, split):
                self._backward(step, index, split, outlet)
            case Weigh(step, index):
                self._weigh(step, index)
            case Evaluate(step, batch):
                self._evaluate(step, batch, outlet)
            case Commit(step):
                self._commit(step, outlet)

    def _forward(self, step: int, index: int, outlet: Outlet) -> None:
        began = time.perf_counter()
        result = self._stage.forward(step, index, self._inputs.pop((Direction.FORWARD, step, index), None))
        ended = time.perf_counter()
        self._pace.forward(step, index, began, ended)
        self._forward_ns += int((ended - began) * 1e9)
        self._forwards += 1
        if result is not None:
            outlet.tensor(Direction.FORWARD, step, index, self._spec.schedule.computed_with(step), result)

    def _backward(self, step: int, index: int, split: bool, outlet: Outlet) -> None:
        began = time.perf_counter()
        above = self._inputs.pop((Direction.BACKWARD, step, index), None)
        result = self._stage.backward(step, index, above, split=split)
        ended = time.perf_counter()
        self._pace.backward(began, ended, split=split)
        self._backward_ns += int((ended - began) * 1e9)
        if result is not None:
            outlet.tensor(Direction.BACKWARD, step, index, self._spec.schedule.computed_with(step), result)

    def _weigh(self, step: int, index: int) -> None:
        began = time.perf_counter()
        self._stage.weigh(step, index)
        ended = time.perf_counter()
        self._pace.weigh(began, ended)
        self._backward_ns += int((ended - began) * 1e9)

    def _evaluate(self, step: int, batch: int, outlet: Outlet) -> None:
        result = self._stage.evaluate(batch, self._inputs.pop((Direction.EVALUATE, step, batch), None))
        if isinstance(result, Tensor):
            outlet.tensor(Direction.EVALUATE, step, batch, step, result)
        elif self._load.end == self._spec.model.num_hidden_layers:
            self._score(step, result, outlet)

    def _score(self, step: int, loss_sum: float, outlet: Outlet) -> None:
        self._scores.append(loss_sum)
        if len(self._scores) == evaluation_batches(self._spec):
            targets = self._spec.schedule.eval_windows * self._spec.batch.sequence_length
            outlet.report(Scored(step, repr(fsum(self._scores) / targets)))
            self._scores.clear()

    def _commit(self, step: int, outlet: Outlet) -> None:
        result = self._stage.commit(step)
        self._pace.commit()
        self._refresh()
        strike(self._load.fault, self._load.stage, step, self._stage)
        norms = tuple(repr(norm) for _, norm in result.squared_norms)
        outlet.report(Stepped(step, None if result.loss is None else repr(result.loss), norms, self.work()))
        if step % self._spec.schedule.checkpoint_every == 0 or step == self._spec.schedule.steps:
            outlet.make_room()
            outlet.report(Stored(step, self._store()))

    def _refresh(self) -> None:
        self._flow.credit, self._flow.deferral = self._pace.credit, self._pace.deferral

    def _store(self) -> tuple[UnitState, ...]:
        return tuple(
            UnitState(unit, self._blobs.put(weights), self._blobs.put(optimizer))
            for unit, (weights, optimizer) in self._stage.snapshot().items()
        )


def flow_of(load: Load, spec: JobSpec, version: int) -> FlowStage:
    """The choice machine for a stage that starts from these weights."""
    due = {step for step in range(version, spec.schedule.steps + 1) if evaluation_due(spec.schedule, step)}
    return FlowStage(
        stage=load.stage,
        stages=load.stages,
        micro_batches=spec.batch.micro_batches,
        steps=spec.schedule.steps,
        credit=load.credit,
        evaluation_steps=frozenset(due if version == 0 else due - {version}),
        evaluation_batches=evaluation_batches(spec),
        version=version,
        stale=spec.schedule.stale,
    )


def evaluation_batches(spec: JobSpec) -> int:
    """Batches in one evaluation."""
    return spec.schedule.eval_windows // spec.batch.micro_batch_size
