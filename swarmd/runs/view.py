"""A run as people see it: pure functions from the record to the views of the control protocol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict

from swarmd.protocols.advert import Advert
from swarmd.protocols.control import RecoveryView, RunView, StageView
from swarmd.protocols.footprint import parameter_count
from swarmd.protocols.ids import PeerId
from swarmd.protocols.statements import StageAssignment
from swarmd.runs.record import MemberRecord, RunRecord
from swarmd.scheduler.around import stage_of

MAX_POINTS = 400
_WORDS = {"PLANNING": "probing", "CONNECTING": "loading", "MENDING": "recovering", "HALTING": "recovering"}
_AGAIN = {"PROBING": "recovering", "PLANNING": "recovering", "LOADING": "recovering", "CONNECTING": "recovering"}


def state_words(record: RunRecord) -> tuple[str, str, str]:
    """(state, code, reason) as the control protocol spells them; the last one once it is on disk."""
    return decided_state(record) if record.settled else record.remembered


def decided_state(record: RunRecord) -> tuple[str, str, str]:
    """(state, code, reason) as the coordinator has it now."""
    if record.state is None:
        return record.remembered
    name = record.state.phase.name
    if record.state.halts and name in _AGAIN:
        return _AGAIN[name], record.state.code, record.state.reason
    return _WORDS.get(name, name.lower()), record.state.code, record.state.reason


def run_view(record: RunRecord, adverts: Mapping[PeerId, Advert], now: float) -> RunView:
    """The view of a run. ``adverts`` say what owners call their machines."""
    state, code, reason = state_words(record)
    spec = record.spec
    elapsed = _elapsed(record, now)
    rate, mean = _rates(record, elapsed)
    left = spec.schedule.steps - record.step
    step_rows = sorted(record.rows.values(), key=lambda row: row.step)
    return RunView(
        run=record.run,
        name=record.name,
        spec=spec.spec_id,
        state=state,
        code=code,
        reason=reason,
        term=record.term,
        step=record.step,
        steps=spec.schedule.steps,
        created=record.created,
        elapsed=elapsed,
        eta=left * spec.batch.tokens_per_step / rate if rate > 0 and state == "training" else None,
        tokens_per_s=rate if state == "training" else 0.0,
        tokens_per_s_mean=mean,
        loss=step_rows[-1].loss if step_rows else None,
        losses=thin(tuple((row.step, row.loss) for row in step_rows)),
        evals=tuple(sorted(record.evals.items())),
        parameters=parameter_count(spec.model),
        checkpoint=record.durable,
        stages=_stages(record, adverts),
        directory=str(record.directory),
        weights_sha256=record.weights_sha256,
        recoveries=tuple(RecoveryView(**asdict(each)) for each in record.recoveries.all),
    )


def thin(points: tuple[tuple[int, float], ...]) -> tuple[tuple[int, float], ...]:
    """At most MAX_POINTS of them, evenly, the last one always."""
    stride = -(-len(points) // MAX_POINTS)
    return points if stride <= 1 else tuple(reversed(points[::-1][::stride]))


def _elapsed(record: RunRecord, now: float) -> float:
    if record.began is None:
        return record.trained_before
    return record.trained_before + (record.ended or now) - record.began


def _rates(record: RunRecord, elapsed: float) -> tuple[float, float]:
    tokens = record.spec.batch.tokens_per_step
    mean = record.step * tokens / elapsed if elapsed > 0 else 0.0
    if len(record.recent) < 2:
        return mean, mean
    (first, then), (last, now) = record.recent[0], record.recent[-1]
    return ((last - first) * tokens / (now - then) if now > then else mean), mean


def _stages(record: RunRecord, adverts: Mapping[PeerId, Advert]) -> tuple[StageView, ...]:
    if record.plan is None:
        return ()
    reasons = record.reasons or ("",) * len(record.plan.stages)
    return tuple(
        _stage(stage_of(record.plan, place), stage, record.member(stage.peer), adverts.get(stage.peer), reason)
        for place, (stage, reason) in enumerate(zip(record.plan.stages, reasons, strict=True))
    )


def _stage(index: int, stage: StageAssignment, member: MemberRecord, advert: Advert | None, reason: str) -> StageView:
    beat, before = member.beat, member.before
    seconds = max(1e-9, member.beat_time - member.before_time)
    known = beat is not None and before is not None
    return StageView(
        index=index,
        peer=stage.peer,
        name=advert.name if advert else "",
        device=advert.device.name if advert else "",
        first_layer=stage.first,
        last_layer=stage.end - 1,
        step=beat.step if beat else 0,
        busy=min(1.0, (beat.busy_ns - before.busy_ns) / 1e9 / seconds) if known and beat and before else 0.0,
        forward_ms=beat.forward_ns / 1e6 if beat else 0.0,
        backward_ms=beat.backward_ns / 1e6 if beat else 0.0,
        micro_batches=beat.micro_batches if beat else 0,
        bytes_sent=beat.bytes_sent if beat else 0,
        bytes_received=beat.bytes_received if beat else 0,
        link_mbit=(beat.bytes_sent - before.bytes_sent) * 8e-6 / seconds if beat and before else 0.0,
        cpu_seconds=beat.cpu_ns / 1e9 if beat else 0.0,
        pid=member.accepted.pid if member.accepted else 0,
        reason=reason,
        commit_ms=beat.commit_ns / 1e6 if beat else 0.0,
    )
