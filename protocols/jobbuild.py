"""From settings that are each in order to a whole job, with defaults that follow from other settings."""

from __future__ import annotations

import re
from decimal import Decimal
from pathlib import PurePath
from typing import TypeVar

from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.budget import Budget, micro_credits
from swarmd.protocols.jobschema import BY_NAME, FLOW_ASYNC, Setting
from swarmd.protocols.jobtables import DataTable, JobFile, ModelTable, RunTable, TokenizerTable, WireTable
from swarmd.protocols.spec import AveragingSpec, NumericsSpec, OptimizerSpec, ScheduleSpec
from swarmd.protocols.specrules import is_name

T = TypeVar("T", int, float, str, bool)
FULL_WARMUP = 20


class Settings:
    """The settings a file gives, each of the right kind and in range; defaults for the others."""

    def __init__(self, given: dict[str, Setting]) -> None:
        self._given = given

    def get(self, name: str, kind: type[T], otherwise: T | None = None) -> T:
        """A setting, else ``otherwise``, else the schema's default."""
        value = self._given.get(name, otherwise)
        value = BY_NAME[name].default if value is None else value
        if not isinstance(value, kind):
            raise TypeError(f"{name} has no default")
        return value

    def maybe(self, name: str, kind: type[T]) -> T | None:
        """A setting, or None if it is not given."""
        value = self._given.get(name)
        return value if isinstance(value, kind) else None

    def exact(self, name: str, otherwise: float | None = None) -> str:
        """A number as the exact string of its double."""
        return repr(self.get(name, float, otherwise))

    def paths(self, name: str) -> tuple[str, ...]:
        """A list of paths, empty if not given."""
        value = self._given.get(name)
        return tuple(map(str, value)) if isinstance(value, tuple) else ()

    def layers(self, name: str) -> tuple[int, ...] | None:
        """A list of layers, None if not given."""
        value = self._given.get(name)
        return tuple(map(int, value)) if isinstance(value, tuple) else None


def build_job(given: dict[str, Setting], path: str) -> JobFile:
    """A job from its settings. Whether they agree with one another is for ``job_faults`` to say."""
    settings = Settings(given)
    batch, optimizer = _batch(settings), _optimizer(settings)
    return JobFile(
        name=settings.get("name", str, _name_from(path)),
        seed=settings.get("seed", int),
        model=_model(settings, batch),
        tokenizer=_tokenizer(settings),
        data=_data(settings),
        batch=batch,
        optimizer=optimizer,
        schedule=_schedule(settings, batch, optimizer),
        numerics=NumericsSpec(
            dtype=settings.get("numerics.dtype", str),
            sum=settings.get("numerics.sum", str),
            threads=settings.get("numerics.threads", int),
            compiler=settings.get("numerics.compiler", str),
        ),
        wire=WireTable(codec=settings.get("wire.codec", str), boundaries=settings.layers("wire.boundaries")),
        averaging=AveragingSpec(
            replicas=settings.get("averaging.replicas", int),
            every=settings.get("averaging.every", int),
            codec=settings.get("averaging.codec", str),
            rate=settings.exact("averaging.rate"),
            momentum=settings.exact("averaging.momentum"),
        ),
        run=RunTable(
            min_stages=settings.get("run.min_stages", int),
            max_stages=settings.maybe("run.max_stages", int),
            replicas=settings.get("run.replicas", int),
            restarts=settings.get("run.restarts", int),
            spares=settings.get("run.spares", int),
        ),
        budget=_budget(settings),
    )


def _model(settings: Settings, batch: BatchTable) -> ModelTable:
    hidden, heads = settings.get("model.hidden", int), settings.get("model.heads", int)
    return ModelTable(
        checkpoint=settings.maybe("model.checkpoint", str),
        vocab=settings.maybe("model.vocab", int),
        layers=settings.get("model.layers", int),
        hidden=hidden,
        heads=heads,
        kv_heads=settings.get("model.kv_heads", int, heads),
        feed_forward=settings.get("model.feed_forward", int, -(-8 * hidden // 3 // 32) * 32),
        context=settings.get("model.context", int, batch.sequence_length),
        norm_eps=settings.exact("model.norm_eps"),
        rope_theta=settings.exact("model.rope_theta"),
        init_std=settings.exact("model.init_std"),
        subspace=settings.get("model.subspace", int),
    )


def _tokenizer(settings: Settings) -> TokenizerTable:
    file = settings.maybe("tokenizer.file", str)
    usual = "checkpoint" if settings.maybe("model.checkpoint", str) else "bytes"
    kind = settings.maybe("tokenizer.kind", str) or ("file" if file else usual)
    return TokenizerTable(kind=kind, file=file)


def _data(settings: Settings) -> DataTable:
    return DataTable(
        text=settings.paths("data.text"),
        jsonl=settings.paths("data.jsonl"),
        field=settings.get("data.field", str, "text"),
        embedded=settings.get("data.embedded", bool),
    )


def _batch(settings: Settings) -> BatchTable:
    sequences = settings.maybe("batch.sequences", int)
    find = settings.get if sequences is None else settings.maybe
    return BatchTable(
        sequence_length=settings.get("batch.sequence_length", int),
        micro_batch_size=find("batch.micro_batch_size", int),
        micro_batches=find("batch.micro_batches", int),
        sequences=sequences,
        eval_windows=settings.maybe("evaluation.windows", int),
    )


def _optimizer(settings: Settings) -> OptimizerSpec:
    lr, steps = settings.exact("optimizer.lr"), settings.get("steps", int)
    return OptimizerSpec(
        lr=lr,
        min_lr=settings.exact("optimizer.min_lr", float(Decimal(lr) / 10)),
        warmup_steps=settings.get("optimizer.warmup_steps", int, min(FULL_WARMUP, steps // 10)),
        beta1=settings.exact("optimizer.beta1"),
        beta2=settings.exact("optimizer.beta2"),
        eps=settings.exact("optimizer.eps"),
        weight_decay=settings.exact("optimizer.weight_decay"),
        clip=settings.exact("optimizer.clip"),
    )


def _schedule(settings: Settings, batch: BatchTable, optimizer: OptimizerSpec) -> ScheduleSpec:
    steps = settings.get("steps", int)
    usual = max(optimizer.warmup_steps, steps // 2)
    stale = settings.get("schedule.mode", str) == FLOW_ASYNC
    return ScheduleSpec(
        steps=steps,
        eval_every=settings.get("evaluation.every", int),
        eval_windows=batch.windows(batch.cut().micro_batch_size),
        checkpoint_every=settings.get("checkpoint.every", int),
        async_after=settings.get("schedule.async_after", int, usual) if stale else None,
    )


def _budget(settings: Settings) -> Budget:
    return Budget(
        max_credits=micro_credits(settings.get("budget.max_credits", float)),
        max_price=settings.maybe("budget.max_price", int),
        pay_every=settings.get("budget.pay_every", int),
        lane_hours=settings.get("budget.lane_hours", int),
    )


def _name_from(path: str) -> str:
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", PurePath(path).stem).strip("._-")[:64]
    return name if is_name(name) else "job"
