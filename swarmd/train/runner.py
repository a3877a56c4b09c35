"""One stage at work: the flow machine decides, the stage computes, frames come and go.

Nothing here waits or sends by itself: ``arrived`` takes frames in, ``turn`` does one action and hands
what it produced to the outlet. So the same code runs in the compute process and in a test's thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import fsum
from typing import Protocol

from torch import Tensor

from swarmd.blobs import BlobStore
from swarmd.compute.messages import Load, Scored, Stepped, Stored
from swarmd.protocols.checkpoint import UnitState
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.footprint import most_held
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction, FrameHeader
from swarmd.scheduler.flow import Action, Backward, Commit, Evaluate, FlowStage, Forward, Weigh
from swarmd.train.faults import Strikes, lag
from swarmd.train.loading import evaluation_batches, replica_of
from swarmd.train.outbox import Notice
from swarmd.train.pace import Pace
from swarmd.train.replica import Heard
from swarmd.train.routes import Routes
from swarmd.train.stage import Stage
from swarmd.train.tally import Tally


class Outlet(Protocol):
    """Where a stage's results go."""

    def tensor(self, to: int, direction: Direction, step: int, index: int, version: int, tensor: Tensor) -> None:
        """Send a boundary tensor, made with the weights of ``version``, to this place."""
        ...

    def notice(self, notice: Notice) -> bool:
        """Send a frame to another replica of the stage; False if there is no slot for it now."""
        ...

    def report(self, message: object) -> None:
        """Tell the daemon."""
        ...

    def make_room(self) -> None:
        """Return when another checkpoint may be written; earlier ones are on the same disk."""
        ...


class StageRunner:
    """Runs one stage of one plan, or one of its replicas, from its first version to the last step."""

    def __init__(
        self, load: Load, spec: JobSpec, stage: Stage, flow: FlowStage, blobs: BlobStore, tally: Tally | None = None
    ) -> None:
        """``tally``: of the process, if it had a place in an earlier plan."""
        self._load, self._spec, self._stage, self._flow, self._blobs = load, spec, stage, flow, blobs
        self._routes = Routes(load.around, spec.batch.micro_batches)
        self._replica = replica_of(load, spec, stage)
        self._told_whole = False
        self._lag, self._strikes = lag(load.fault), Strikes(load, stage)
        self._inputs: dict[tuple[int, int, int], Tensor] = {}
        self._scores: list[float] = []
        self._tally = tally or Tally()
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

    def arrived(self, header: FrameHeader, tensor: Tensor, sender: int, at: float | None = None) -> None:
        """Take the frame of a neighbouring place, which came at this ``time.perf_counter()``, or now.

        Raises ProtocolViolation for one that no honest neighbour sends now.
        """
        key, item = header.key, (header.key.step, header.key.micro_batch)
        self._check(header, self._load.end if key.direction == Direction.BACKWARD else self._load.first)
        if key.direction == Direction.FORWARD:
            self._flow.forward_arrived(*item)
            self._routes.came(item, sender)
        elif key.direction == Direction.BACKWARD:
            self._flow.backward_arrived(*item)
            self._routes.returned(item, sender)
        else:
            self._flow.evaluation_arrived(*item)
            self._routes.looked(sender)
        self._inputs[key.direction, key.step, key.micro_batch] = tensor
        self._pace.arrived(key.direction, key.step, key.micro_batch, time.perf_counter() if at is None else at)

    def noticed(self, header: FrameHeader, values: memoryview, sender: int, release: Callable[[], None]) -> None:
        """Take the frame of another replica, whose slot is free again once ``release`` is called.

        Raises ProtocolViolation for one that no honest replica sends now.
        """
        self._check(header, self._load.first)
        key = header.key
        if self._replica is None:
            raise ProtocolViolation("a word of another replica, where there is none")
        self._replica.heard(Heard(sender, key.direction, key.step, key.micro_batch, values, release))

    def begin(self, outlet: Outlet) -> None:
        """Before the first turn. After a halt, tell of its checkpoint once more: who told of it may be gone."""
        if self._load.version:
            self._keep_checkpoint(self._load.version, outlet)

    def turn(self, outlet: Outlet) -> bool:
        """Do the next action; False when there is none until something arrives."""
        self._send_on(outlet)
        self._share(outlet)
        action = self._flow.choose()
        if action is None:
            return False
        began = time.perf_counter_ns()
        self._act(action, outlet)
        self._tally.busy_ns += time.perf_counter_ns() - began
        return True

    def close(self) -> None:
        """The plan has ended: what frames of it still hold is free again."""
        if self._replica is not None:
            self._replica.close()

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
        time.sleep(self._lag)
        ended = time.perf_counter()
        self._pace.forward(step, index, began, ended)
        self._tally.forward(ended - began)
        self._strikes.reached(step, "forward")
        if result is not None:
            self._routes.leave((step, index), result)
            self._send_on(outlet)

    def _send_on(self, outlet: Outlet) -> None:
        for to, (step, index), tensor in self._routes.onward():
            outlet.tensor(to, Direction.FORWARD, step, index, self._spec.schedule.computed_with(step), tensor)

    def _share(self, outlet: Outlet) -> None:
        """Send what waits for the other replicas; with all their parts the step can be committed."""
        if self._replica is None:
            return
        self._replica.outbox.send(outlet.notice)
        if self._replica.whole and not self._told_whole:
            self._flow.whole(self.version + 1)
            self._told_whole = True

    def _backward(self, step: int, index: int, split: bool, outlet: Outlet) -> None:
        began = time.perf_counter()
        above = self._inputs.pop((Direction.BACKWARD, step, index), None)
        result = self._stage.backward(step, index, above, split=split)
        ended = time.perf_counter()
        self._pace.backward(began, ended, split=split)
        self._tally.backward(ended - began)
        self._strikes.reached(step, "backward")
        if result is not None:
            to = self._routes.home((step, index))
            outlet.tensor(to, Direction.BACKWARD, step, index, self._spec.schedule.computed_with(step), result)
        if self._replica:
            self._replica.counted(index)

    def _weigh(self, step: int, index: int) -> None:
        began = time.perf_counter()
        self._stage.weigh(step, index)
        ended = time.perf_counter()
        self._pace.weigh(began, ended)
        self._tally.backward(ended - began)

    def _evaluate(self, step: int, batch: int, outlet: Outlet) -> None:
        result = self._stage.evaluate(batch, self._inputs.pop((Direction.EVALUATE, step, batch), None))
        if isinstance(result, Tensor):
            outlet.tensor(self._routes.look, Direction.EVALUATE, step, batch, step, result)
        elif self._load.end == self._spec.model.num_hidden_layers:
            self._score(step, result, outlet)

    def _score(self, step: int, loss_sum: float, outlet: Outlet) -> None:
        self._scores.append(loss_sum)
        if len(self._scores) == evaluation_batches(self._spec):
            targets = self._spec.schedule.eval_windows * self._spec.batch.sequence_length
            outlet.report(Scored(step, repr(fsum(self._scores) / targets)))
            self._scores.clear()

    def _commit(self, step: int, outlet: Outlet) -> None:
        began = time.perf_counter_ns()
        result = self._replica.commit(step) if self._replica else self._stage.commit(step)
        self._tally.commit(time.perf_counter_ns() - began)
        self._told_whole = False
        self._pace.commit()
        self._refresh()
        self._strikes.reached(step, "commit")
        norms = tuple(repr(norm) for _, norm in result.squared_norms)
        outlet.report(Stepped(step, None if result.loss is None else repr(result.loss), norms, self._tally.work()))
        self._keep_checkpoint(step, outlet)

    def _keep_checkpoint(self, step: int, outlet: Outlet) -> None:
        if step % self._spec.schedule.checkpoint_every == 0 or step == self._spec.schedule.steps:
            outlet.make_room()
            stored = self._store()
            self._strikes.reached(step, "checkpoint")
            outlet.report(Stored(step, stored))

    def _check(self, header: FrameHeader, boundary: int) -> None:
        key, here = header.key, (self._load.run, self._load.term, boundary)
        if (key.run, key.term, key.boundary) != here or header.plan != self._load.plan:
            raise ProtocolViolation(f"a frame of another run, term, plan or boundary: {key}")

    def _refresh(self) -> None:
        self._flow.credit, self._flow.deferral = self._pace.credit, self._pace.deferral

    def _store(self) -> tuple[UnitState, ...]:
        return tuple(
            UnitState(unit, self._blobs.put(weights), self._blobs.put(optimizer))
            for unit, (weights, optimizer) in self._stage.snapshot().items()
        )
