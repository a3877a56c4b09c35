"""What a job may ask for: ranges, choices, and rules that hold between fields.

The rules speak of a *resolved* spec's fields. A job file's parser shows them with its own names and
lines; a peer's spec is refused at the first one broken. So both obey the same rules.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass

from swarmd.protocols.codecs import CODECS
from swarmd.protocols.footprint import parameter_count
from swarmd.protocols.spec import BatchSpec, ModelSpec, OptimizerSpec, ScheduleSpec

MAX_PARAMETERS = 100_000_000_000
MAX_MICRO_BATCH_TOKENS = 1 << 20
TOKENS_PER_SHARD = 1 << 20
MAX_SHARDS = 4096
BYTE_VOCABULARY = 256
MAX_U16_VOCABULARY = 1 << 16
MAX_REPLICAS = 8
"""Of one stage: each has links to all others."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
NAME_RULE = "must be 1 to 64 letters, digits, '.', '_' or '-', beginning with a letter or digit"


@dataclass(frozen=True, slots=True)
class Fault:
    """One broken rule. ``field`` and ``involves`` are dotted spec fields."""

    field: str
    value: object
    problem: str
    involves: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Range:
    """Numbers from low to high; ``over``: low itself is outside; ``under``: high itself is."""

    low: float
    high: float
    over: bool = False
    under: bool = False

    def holds(self, value: float) -> bool:
        """Whether a value lies inside; never for a value that is not finite."""
        above = value > self.low if self.over else value >= self.low
        below = value < self.high if self.under else value <= self.high
        return above and below

    def words(self) -> str:
        """For people: ``from 1 to 512``, ``over 0 and at most 10``."""
        if not self.over and not self.under:
            return f"from {_plain(self.low)} to {_plain(self.high)}"
        low = f"over {_plain(self.low)}" if self.over else f"at least {_plain(self.low)}"
        high = f"under {_plain(self.high)}" if self.under else f"at most {_plain(self.high)}"
        return f"{low} and {high}"


def _plain(number: float) -> str:
    return str(int(number)) if number == int(number) else repr(number)


INTEGERS: dict[str, Range] = {
    "seed": Range(0, (1 << 53) - 1),
    "schedule.steps": Range(1, 10_000_000),
    "model.num_hidden_layers": Range(1, 512),
    "model.hidden_size": Range(2, 65_536),
    "model.num_attention_heads": Range(1, 1024),
    "model.num_key_value_heads": Range(1, 1024),
    "model.intermediate_size": Range(1, 1 << 20),
    "model.vocab_size": Range(2, 1 << 22),
    "model.max_position_embeddings": Range(1, 1 << 20),
    "model.subspace": Range(0, 65_536),
    "batch.sequence_length": Range(1, 1 << 17),
    "batch.micro_batch_size": Range(1, 4096),
    "batch.micro_batches": Range(1, 4096),
    "optimizer.warmup_steps": Range(0, 10_000_000),
    "schedule.eval_every": Range(1, 10_000_000),
    "schedule.eval_windows": Range(1, 65_536),
    "schedule.checkpoint_every": Range(1, 10_000_000),
    "schedule.async_after": Range(0, 10_000_000),
    "numerics.threads": Range(1, 64),
    "averaging.replicas": Range(1, MAX_REPLICAS),
    "averaging.every": Range(2, 10_000),
}

NUMBERS: dict[str, Range] = {
    "model.rms_norm_eps": Range(0, 0.1, over=True),
    "model.rope_theta": Range(1, 1e9, over=True),
    "model.initializer_range": Range(0, 1, over=True),
    "optimizer.lr": Range(0, 10, over=True),
    "optimizer.min_lr": Range(0, 10),
    "optimizer.beta1": Range(0, 1, under=True),
    "optimizer.beta2": Range(0, 1, under=True),
    "optimizer.eps": Range(0, 1, over=True),
    "optimizer.weight_decay": Range(0, 10),
    "optimizer.clip": Range(0, 1e6, over=True),
    "averaging.rate": Range(0, 2, over=True),
    "averaging.momentum": Range(0, 1, under=True),
}

CHOICES: dict[str, tuple[str, ...]] = {
    "tokenizer.kind": ("bytes", "file"),
    "data.source": ("manifest",),
    "data.dtype": ("u16", "u32"),
    "optimizer.name": ("adamw",),
    "numerics.dtype": ("float32", "bfloat16"),
    "numerics.sum": ("exact", "ordered"),
    "numerics.compiler": ("none", "inductor"),
    "wire.forward": CODECS,
    "wire.backward": CODECS,
    "averaging.codec": CODECS,
}


def is_name(text: str) -> bool:
    """Whether a run may be called this: it is shown on other people's terminals."""
    return _NAME.fullmatch(text) is not None


def is_exact_float(text: str) -> bool:
    """Whether a text is the one spelling Python itself gives a finite double."""
    try:
        number = float(text)
    except ValueError:
        return False
    return math.isfinite(number) and repr(number) == text


def model_faults(model: ModelSpec) -> Iterator[Fault]:
    """Sizes that make no Llama: heads, head width, parameter count."""
    hidden, heads, kv = "model.hidden_size", "model.num_attention_heads", "model.num_key_value_heads"
    width, count, groups = model.hidden_size, model.num_attention_heads, model.num_key_value_heads
    if width % count:
        use = _nearest([n for n in range(1, 1025) if width % (2 * n) == 0], count)
        yield Fault(heads, count, f"hidden ({width}) must divide by heads{use}", (hidden, heads))
    elif width // count % 2:
        use = _nearest([n for n in range(1, 1025) if width % (2 * n) == 0], count)
        yield Fault(heads, count, f"hidden / heads ({width // count}) must be even{use}", (hidden, heads))
    if count % groups:
        use = _nearest([n for n in range(1, count + 1) if count % n == 0], groups)
        yield Fault(kv, groups, f"heads ({count}) must divide by kv_heads{use}", (heads, kv))
    if (total := parameter_count(model)) > MAX_PARAMETERS:
        sizes = (hidden, "model.num_hidden_layers", "model.intermediate_size", "model.vocab_size")
        yield Fault(
            hidden,
            width,
            f"the model would have {total / 1e9:,.0f} billion parameters, at most "
            f"{MAX_PARAMETERS // 10**9} billion are taken; use fewer layers or smaller sizes",
            sizes,
        )


def batch_faults(batch: BatchSpec) -> Iterator[Fault]:
    """A micro-batch that no node could hold."""
    length, size = "batch.sequence_length", "batch.micro_batch_size"
    if batch.sequence_length * batch.micro_batch_size > MAX_MICRO_BATCH_TOKENS:
        fits = MAX_MICRO_BATCH_TOKENS // batch.sequence_length
        problem = (
            f"times sequence_length ({batch.sequence_length}) is over {MAX_MICRO_BATCH_TOKENS} tokens; "
            f"use at most {fits}, and more micro_batches"
        )
        yield Fault(size, batch.micro_batch_size, problem, (length, size))


def context_faults(model: ModelSpec, batch: BatchSpec) -> Iterator[Fault]:
    """Sequences longer than the model's positions."""
    context, length = model.max_position_embeddings, batch.sequence_length
    if length > context:
        yield Fault(
            "batch.sequence_length",
            length,
            f"is over the model's context ({context}); use at most {context}",
            ("batch.sequence_length", "model.max_position_embeddings"),
        )


def schedule_faults(schedule: ScheduleSpec, optimizer: OptimizerSpec, batch: BatchSpec) -> Iterator[Fault]:
    """Warm-up, learning rates and evaluation windows that contradict one another."""
    steps, warmup, size = schedule.steps, optimizer.warmup_steps, batch.micro_batch_size
    if warmup > steps:
        problem = f"is over steps ({steps}); use at most {steps}"
        yield Fault("optimizer.warmup_steps", warmup, problem, ("optimizer.warmup_steps", "schedule.steps"))
    if float(optimizer.min_lr) > float(optimizer.lr):
        problem = f"is over lr ({optimizer.lr}); use at most {optimizer.lr}"
        yield Fault("optimizer.min_lr", float(optimizer.min_lr), problem, ("optimizer.min_lr", "optimizer.lr"))
    if schedule.eval_windows % size:
        below = schedule.eval_windows // size * size
        use = f"{below} or {below + size}" if below else f"{size}"
        yield Fault(
            "schedule.eval_windows",
            schedule.eval_windows,
            f"must be a multiple of micro_batch_size ({size}); use {use}",
            ("schedule.eval_windows", "batch.micro_batch_size"),
        )


def async_faults(schedule: ScheduleSpec, optimizer: OptimizerSpec) -> Iterator[Fault]:
    """Stale gradients while the learning rate still rises, or a ``flow-async`` without any."""
    after, warmup, steps = schedule.async_after, optimizer.warmup_steps, schedule.steps
    field, every = "schedule.async_after", "schedule.checkpoint_every"
    if after is None or warmup > steps:  # a warm-up longer than the run is a fault of its own
        return
    if warmup == steps:
        problem = f"leaves no step to be asynchronous; use at most {steps - 1}"
        yield Fault("optimizer.warmup_steps", warmup, problem, ("optimizer.warmup_steps", "schedule.steps", field))
        return
    if after < warmup:
        problem = (
            f"stale gradients would come while the learning rate still rises; use at least warmup_steps ({warmup})"
        )
        yield Fault(field, after, problem, (field, "optimizer.warmup_steps"))
    if after >= steps:
        problem = f"leaves none of {steps} steps to be asynchronous; use at most {steps - 1}"
        yield Fault(field, after, problem, (field, "schedule.steps"))
    if schedule.checkpoint_every == 1:
        problem = "the step after a checkpoint is synchronous, so all would be; use at least 2"
        yield Fault(every, 1, problem, (every, field))


def _nearest(allowed: list[int], wish: int) -> str:
    near = [*[n for n in allowed if n < wish][-1:], *[n for n in allowed if n > wish][:1]]
    return f"; use {' or '.join(map(str, near))}" if near else "; use an even hidden"
