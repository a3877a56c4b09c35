"""What a member may say to its coordinator, and when.

An honest member says most things once and in order, and what it says often is bounded by what it was asked
and by the run's own steps. So whatever a hostile one sends, it costs the coordinator a bounded amount of
memory, disk and work before its session ends.
"""

from __future__ import annotations

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.messages import (
    Accepted,
    Beat,
    Checkpointed,
    Connected,
    Declined,
    Evaluated,
    Failed,
    Finished,
    Halted,
    Profiled,
    Ready,
    StepDone,
)
from swarmd.protocols.pay_messages import LaneReleased, Receipted, ReceiptsDone
from swarmd.protocols.spec import JobSpec, ScheduleSpec
from swarmd.protocols.statements import StageAssignment
from swarmd.runs.sizes import unit_names_of
from swarmd.scheduler.witness import AHEAD

MAX_STEPS_AHEAD = 4096
"""Steps a stage may report beyond the last one that every stage has reported."""
MAX_FAILURES = 8
"""Times a member may say under one plan that it cannot go on: once for each link, and for its compute process."""
_AFTER: dict[type[object], tuple[type[object], ...]] = {
    Accepted: (),
    Declined: (),
    Profiled: (Accepted,),
    Ready: (Accepted,),
    Connected: (Ready,),
    Finished: (Connected,),
    ReceiptsDone: (Ready,),
    LaneReleased: (Ready,),
}
"""What a member says once, and what it has said before that."""


class Conduct:
    """One member's messages so far."""

    def __init__(self, spec: JobSpec) -> None:
        self._spec = spec
        self._said: set[type[object]] = set()
        self._units: tuple[str, ...] = ()
        self._last = self._scores = self._halting = False
        self._step = self._stored = self._beat = self._failures = 0
        self._start = self._pay_every = self._receipts = 0
        self._scored = -1

    def holds(self, stage: StageAssignment, version: int, *, head: bool = True, again: bool = False) -> None:
        """From now on the member may speak as the holder of a stage that starts at this version.

        ``head``: evaluations go through it, and not through the stage's other replicas. ``again``: it goes on after
        a halt, and tells of this version's checkpoint once more.
        """
        model = self._spec.model
        self._units = unit_names_of(model, stage.first, stage.end)
        self._last = stage.end == model.num_hidden_layers
        self._scores = self._last and head
        self._step = self._start = version
        self._stored = version - again
        self._scored, self._failures = -1, 0

    def halts(self) -> None:
        """The member is asked to stand still, and may say so once."""
        self._halting = True

    def pays(self, pay_every: int) -> None:
        """From now on the member signs receipts, one for each boundary every so many steps."""
        self._pay_every = pay_every

    def check(self, message: object, *, beats: int, step: int) -> None:
        """Raises ProtocolViolation for what no honest member says now.

        ``beats`` is how many heartbeats it was sent, ``step`` the last one that every stage has reported.
        """
        match message:
            case Failed():
                self._failures += 1
                fits = self._failures <= MAX_FAILURES
            case Beat(number=number):
                fits = self._beat < number <= beats
                self._beat = number
            case StepDone():
                fits = self._stepped(message, step)
            case Evaluated(step=at):
                fits = self._scores and self._scored < at <= self._step and _evaluated(self._spec.schedule, at)
                self._scored = at
            case Checkpointed():
                fits = self._checkpointed(message)
            case Halted(version=version):
                fits, self._halting = self._halting and version == self._step, False
                self._said -= {Ready, Connected, Finished}
            case Receipted():
                fits = self._receipted(message)
            case _:
                fits = self._once(message)
        if not fits:
            raise ProtocolViolation(f"{type(message).__name__} came out of turn, or not as the run has it")

    def _once(self, message: object) -> bool:
        kind = type(message)
        before = _AFTER[kind]
        fits = kind not in self._said and all(each in self._said for each in before)
        fits = fits and (bool(before) or not self._said)
        self._said.add(kind)
        match message:
            case Ready(version):
                return fits and bool(self._units) and version == self._step
            case Finished():
                return fits and self._step == self._spec.schedule.steps
            case ReceiptsDone() | LaneReleased():
                return fits and self._pay_every > 0
        return fits

    def _stepped(self, report: StepDone, step: int) -> bool:
        self._step += 1
        return (
            Connected in self._said
            and report.step == self._step <= min(self._spec.schedule.steps, step + MAX_STEPS_AHEAD)
            and len(report.squared_norms) == len(self._units)
            and (report.loss is not None) == self._last
        )

    def _receipted(self, report: Receipted) -> bool:
        """One for each boundary and window that is committed, and one more of each when the run is over."""
        self._receipts += 1
        if not self._pay_every:
            return False
        windows = -(-(self._step - self._start) // self._pay_every) + 1
        return self._receipts <= 2 * windows and report.receipt.receipt.end_step <= self._step + 1 + AHEAD

    def _checkpointed(self, report: Checkpointed) -> bool:
        schedule, after = self._spec.schedule, self._stored
        self._stored = report.step
        return (
            after < report.step <= self._step
            and (report.step % schedule.checkpoint_every == 0 or report.step == schedule.steps)
            and tuple(unit.unit for unit in report.units) == self._units
            and all(unit.optimizer is not None for unit in report.units)
        )


def _evaluated(schedule: ScheduleSpec, step: int) -> bool:
    return step % schedule.eval_every == 0 or step == schedule.steps
