"""What the coordinator has learned of a run: metrics, checkpoints, how each stage is doing.

Reports of the stages are folded in here; ``scheduler.run`` decides, this remembers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from pathlib import Path

from swarmd.blobs import BlobStore
from swarmd.protocols.budget import Budget
from swarmd.protocols.checkpoint import Checkpoint, UnitState, unit_names
from swarmd.protocols.ids import BlobHash, PeerId, RunId
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.messages import Accepted, Beat, Profiled, StepDone
from swarmd.protocols.rounds import over_lanes
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, RunStatement
from swarmd.runs.blob_exchange import Grant
from swarmd.runs.recoveries import Recoveries
from swarmd.scheduler.agreement import Agreement
from swarmd.scheduler.runstate import RunState


@dataclass(frozen=True, slots=True)
class StepRow:
    """One step of the run as a whole."""

    step: int
    loss: float
    grad_norm: float
    time: float
    """Unix time at which its last report came."""


@dataclass(frozen=True, slots=True)
class KeptCheckpoint:
    """A whole checkpoint on our disk."""

    step: int
    manifest: BlobHash
    blobs: frozenset[BlobHash]
    """What the manifest names."""

    @property
    def names(self) -> frozenset[BlobHash]:
        """Every blob of it."""
        return self.blobs | {self.manifest}


@dataclass(frozen=True, slots=True)
class Spending:
    """What a run costs, over all its terms; micro-credits."""

    estimate: int
    """If the plan in force goes to the last step; what was spent where there is none."""
    spent: int
    """Vouchers signed."""
    locked: int
    """Set aside in lanes that are not settled."""
    left: int
    """Of the budget, after what was spent."""


@dataclass(slots=True)
class MemberRecord:
    """What one member told us."""

    accepted: Accepted | None = None
    profile: Profiled | None = None
    beat: Beat | None = None
    before: Beat | None = None
    """An earlier beat, for rates."""
    beat_time: float = 0.0
    before_time: float = 0.0


@dataclass(slots=True, kw_only=True)
class RunRecord:
    """One run on its submitter's node."""

    run: RunId
    name: str
    spec: JobSpec
    statement: RunStatement
    signed: bytes
    directory: Path
    created: float
    asked: RunTable
    grant: Grant
    budget: Budget = field(default_factory=Budget)
    spending: Spending | None = None
    """None for a run without a budget."""
    term: int = 1
    start: BlobHash | None = None
    """The checkpoint this term begins from."""
    state: RunState | None = None
    """None in a daemon that only remembers the run."""
    remembered: tuple[str, str, str] = ("preparing", "", "")
    """(state, code, reason) as people are told: a final state only once it is on disk."""
    interrupted: bool = False
    """It was going when the daemon ended."""
    settled: bool = False
    """The run's last state is on disk."""
    plan: Plan | None = None
    resumed: int | None = None
    """The version that the stages of this plan were asked to go on from; None: they were built."""
    reasons: tuple[str, ...] = ()
    """Why each stage is where it is."""
    members: dict[PeerId, MemberRecord] = field(default_factory=dict[PeerId, MemberRecord])
    began: float | None = None
    """Unix time at which training began in this term."""
    ended: float | None = None
    trained_before: float = 0.0
    """Seconds of training in earlier terms."""
    rows: dict[int, StepRow] = field(default_factory=dict[int, StepRow])
    evals: dict[int, float] = field(default_factory=dict[int, float])
    checkpoint: tuple[int, BlobHash] | None = None
    kept: list[KeptCheckpoint] = field(default_factory=list[KeptCheckpoint])
    """Oldest first."""
    durable: int | None = None
    """Newest step whose checkpoint a restarted daemon would know of."""
    weights_sha256: str | None = None
    reference: dict[str, float] = field(default_factory=dict[str, float])
    recoveries: Recoveries = field(default_factory=Recoveries)
    recent: deque[tuple[int, float]] = field(default_factory=lambda: deque[tuple[int, float]](maxlen=32))
    _agreement: Agreement | None = None
    _open: dict[int, dict[PeerId, StepDone]] = field(default_factory=dict[int, dict[PeerId, StepDone]])
    _units: dict[int, dict[str, UnitState]] = field(default_factory=dict[int, dict[str, UnitState]])

    def member(self, peer: PeerId) -> MemberRecord:
        """What is known of a member."""
        return self.members.setdefault(peer, MemberRecord())

    @property
    def step(self) -> int:
        """The newest step that every stage has committed."""
        return max(self.rows, default=0)

    @property
    def start_step(self) -> int:
        """The step this term begins from."""
        return self.checkpoint[0] if self.start and self.checkpoint else 0

    def planned(self, plan: Plan, reasons: tuple[str, ...]) -> None:
        """The term has its plan."""
        self.plan, self.reasons, self._agreement = plan, reasons, Agreement(plan.groups)

    def mended(self, plan: Plan, version: int, now: float) -> tuple[StepRow, ...]:
        """Another plan goes on from this version; rows that waited for those who were left out."""
        if self.plan is not None:
            old = dict(zip((place.peer for place in self.plan.stages), self.reasons, strict=True))
            self.planned(plan, tuple(old[place.peer] for place in plan.stages))
        self.resumed = version
        due = sorted(step for step in self._open if step <= version)
        rows = tuple(row for step in due if (row := self._whole(step, now)) is not None)
        self._open.clear()
        return rows

    @property
    def holders(self) -> tuple[PeerId, ...]:
        """Peers of the plan's places."""
        return tuple(place.peer for place in self.plan.stages) if self.plan else ()

    @property
    def next_number(self) -> int:
        """Of the term's next plan."""
        return self.plan.number + 1 if self.plan else 1

    def place(self, peer: PeerId) -> int:
        """The place that a peer holds. Raises ValueError for a peer without one."""
        places = self.plan.stages if self.plan else ()
        return [place.peer for place in places].index(peer)

    def is_head(self, peer: PeerId) -> bool:
        """Whether a peer is the first replica of its stage: the one whose reports count."""
        return self.plan is not None and self.place(peer) in {group[0] for group in self.plan.groups}

    def agreed(self, peer: PeerId, what: str, step: int, said: Hashable) -> None:
        """A peer's word on a step. Raises RunFailed if another replica of its stage said something else."""
        if self._agreement is not None:
            self._agreement.said(self.place(peer), what, step, said)

    def stepped(self, peer: PeerId, report: StepDone, now: float) -> StepRow | None:
        """A place committed a step; the row, once all have. Raises RunFailed if replicas differ."""
        if self.plan is None or report.step in self.rows:
            return None
        if self.spec.lanes == 1:
            self.agreed(peer, "norms or losses", report.step, (report.loss, report.squared_norms))
        reports = self._open.setdefault(report.step, {})
        reports[peer] = report
        return self._whole(report.step, now)

    def _whole(self, step: int, now: float) -> StepRow | None:
        reports = self._open[step]
        if self.plan is None or any(place.peer not in reports for place in self.plan.stages):
            return None
        del self._open[step]
        lanes = self.spec.lanes
        heard = [place for group in self.plan.groups for place in group[:lanes]]
        counted = [reports[self.plan.stages[place].peer] for place in heard]
        losses = [float(each.loss or "nan") for each in counted[-lanes:]]
        loss, norm = over_lanes(losses, (float(text) for each in counted for text in each.squared_norms))
        row = StepRow(step, loss, norm, now)
        self.rows[step] = row
        self.recent.append((step, now))
        return row

    def stored(self, step: int, units: tuple[UnitState, ...], blobs: BlobStore) -> Checkpoint | None:
        """These units of a step are on our disk; the whole checkpoint, once all are."""
        have = self._units.setdefault(step, {})
        have.update({unit.unit: unit for unit in units})
        names = unit_names(self.spec.model.num_hidden_layers)
        if any(name not in have for name in names):
            return None
        del self._units[step]
        checkpoint = Checkpoint(step, tuple(have[name] for name in names))
        self.checkpoint = (step, blobs.put(checkpoint.to_bytes()))
        return checkpoint

    def left_over(self, step: int) -> set[BlobHash]:
        """Blobs of checkpoints before ``step`` that never became whole; they are forgotten."""
        old = [at for at in self._units if at < step]
        states = [state for at in old for state in self._units.pop(at).values()]
        return {blob for state in states for blob in (state.weights, state.optimizer) if blob is not None}

    def beat(self, peer: PeerId, beat: Beat, now: float) -> None:
        """A member's heartbeat answer; keeps one some seconds old beside the newest."""
        member = self.member(peer)
        if member.beat is None or now - member.before_time > 5.0:
            member.before, member.before_time = member.beat or beat, member.beat_time or now
        member.beat, member.beat_time = beat, now

    def reopen(self) -> None:
        """The run is to go on; the reason why it does not remains until it does."""
        self.remembered = ("recovering", "", self.state.reason if self.state else self.remembered[2])
        self.interrupted = self.settled = False

    def renew(self, checkpoint: Checkpoint | None) -> None:
        """Set back to the newest checkpoint, whose manifest this is, for another term."""
        self.term += 1
        self.plan, self.members, self.reasons = None, {}, ()
        self.trained_before += (self.ended or 0) - (self.began or self.ended or 0)
        self.began = self.ended = self.state = None
        self.reopen()
        self.go_back(checkpoint)

    def go_back(self, checkpoint: Checkpoint | None) -> None:
        """Set back to the newest checkpoint, whose manifest this is; None: to the beginning."""
        if self.checkpoint is not None and checkpoint is not None:
            self.start = self.checkpoint[1]
            self.grant.blobs |= {self.start, *checkpoint_blobs(checkpoint)}
        self.resumed = None
        self.forget_after(checkpoint.step if checkpoint else 0)

    def forget_after(self, step: int) -> None:
        """Drop rows beyond a checkpoint: a new term makes them again."""
        self.rows = {at: row for at, row in self.rows.items() if at <= step}
        self.evals = {at: loss for at, loss in self.evals.items() if at <= step}
        self.recent.clear()
        self._open.clear()
        self._units.clear()


def spec_blobs(spec: JobSpec) -> set[BlobHash]:
    """Blobs a member may need before the first step."""
    shards = {shard.blob for shard in (*spec.data.train, *spec.data.held_out)}
    more = {blob for blob in (spec.tokenizer.file, spec.model.weights) if blob is not None}
    return shards | more


def needed_blobs(record: RunRecord) -> set[BlobHash]:
    """Every blob that the run may still be asked for."""
    kept = {name for each in record.kept for name in each.names}
    return spec_blobs(record.spec) | kept | ({record.start} if record.start else set())


def checkpoint_blobs(checkpoint: Checkpoint) -> set[BlobHash]:
    """Every blob a checkpoint names."""
    return {blob for unit in checkpoint.units for blob in (unit.weights, unit.optimizer) if blob is not None}
