"""The settings of a job file: name, kind of value, default, and the spec field each one sets."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.batchtable import MOST_COUNT, MOST_SIZE
from swarmd.protocols.budget import MAX_LANE_HOURS, MAX_PAY_EVERY
from swarmd.protocols.codecs import WIRES
from swarmd.protocols.specrules import CHOICES, INTEGERS, MAX_REPLICAS, NUMBERS, Range

Setting = int | float | str | bool | tuple[str, ...] | tuple[int, ...] | None


@dataclass(frozen=True, slots=True)
class Field:
    """One setting. A default of None is worked out from others, or means that it is not given."""

    table: str
    """Empty: top level."""
    key: str
    kind: str
    """``int``, ``number``, ``text``, ``flag``, ``paths`` or ``layers``."""
    spec: str
    """The spec field it sets; empty: none, or several."""
    default: Setting = None
    range: Range | None = None
    choices: tuple[str, ...] = ()

    @property
    def dotted(self) -> str:
        """The name people read: ``model.heads``, ``steps``."""
        return f"{self.table}.{self.key}" if self.table else self.key


def _whole(name: str, spec: str, default: int | None = None) -> Field:
    table, _, key = name.rpartition(".")
    return Field(table, key, "int", spec, default, range=INTEGERS[spec])


def _number(name: str, spec: str, default: float | None = None) -> Field:
    table, _, key = name.rpartition(".")
    return Field(table, key, "number", spec, default, range=NUMBERS[spec])


def _choice(name: str, spec: str, default: str | None = None) -> Field:
    table, _, key = name.rpartition(".")
    return Field(table, key, "text", spec, default, choices=CHOICES[spec])


FLOW_SYNC, FLOW_ASYNC = "flow-sync", "flow-async"
STAGES = Range(1, 512)
PRICE = Range(0, 10**15)

FIELDS: tuple[Field, ...] = (
    Field("", "name", "text", "name"),
    _whole("seed", "seed", 0),
    _whole("steps", "schedule.steps", 300),
    Field("model", "checkpoint", "text", ""),
    _whole("model.vocab", "model.vocab_size"),
    _whole("model.layers", "model.num_hidden_layers", 8),
    _whole("model.hidden", "model.hidden_size", 128),
    _whole("model.heads", "model.num_attention_heads", 4),
    _whole("model.kv_heads", "model.num_key_value_heads"),
    _whole("model.feed_forward", "model.intermediate_size"),
    _whole("model.context", "model.max_position_embeddings"),
    _number("model.norm_eps", "model.rms_norm_eps", 1e-5),
    _number("model.rope_theta", "model.rope_theta", 10000.0),
    _number("model.init_std", "model.initializer_range", 0.02),
    _whole("model.subspace", "model.subspace", 0),
    Field("model", "tie_word_embeddings", "flag", "", False),
    _choice("tokenizer.kind", "tokenizer.kind"),
    Field("tokenizer", "file", "text", ""),
    Field("data", "text", "paths", ""),
    Field("data", "jsonl", "paths", ""),
    Field("data", "field", "text", ""),
    Field("data", "embedded", "flag", "", False),
    _whole("batch.sequence_length", "batch.sequence_length", 128),
    Field("batch", "sequences", "int", "batch.sequences", range=Range(1, MOST_SIZE * MOST_COUNT)),
    _whole("batch.micro_batch_size", "batch.micro_batch_size", 1),
    _whole("batch.micro_batches", "batch.micro_batches", 4),
    _number("optimizer.lr", "optimizer.lr", 0.0015),
    _number("optimizer.min_lr", "optimizer.min_lr"),
    _whole("optimizer.warmup_steps", "optimizer.warmup_steps"),
    _number("optimizer.beta1", "optimizer.beta1", 0.9),
    _number("optimizer.beta2", "optimizer.beta2", 0.95),
    _number("optimizer.eps", "optimizer.eps", 1e-8),
    _number("optimizer.weight_decay", "optimizer.weight_decay", 0.1),
    _number("optimizer.clip", "optimizer.clip", 1.0),
    _whole("evaluation.every", "schedule.eval_every", 50),
    _whole("evaluation.windows", "schedule.eval_windows"),
    _whole("checkpoint.every", "schedule.checkpoint_every", 100),
    _choice("numerics.dtype", "numerics.dtype", "float32"),
    _choice("numerics.sum", "numerics.sum", "exact"),
    _whole("numerics.threads", "numerics.threads", 1),
    _choice("numerics.compiler", "numerics.compiler", "none"),
    Field("wire", "codec", "text", "wire.forward", "raw", choices=(*WIRES, "auto")),
    Field("wire", "boundaries", "layers", "wire.boundaries"),
    Field("schedule", "mode", "text", "", FLOW_SYNC, choices=(FLOW_SYNC, FLOW_ASYNC)),
    _whole("schedule.async_after", "schedule.async_after"),
    _whole("averaging.replicas", "averaging.replicas", 1),
    _whole("averaging.every", "averaging.every", 10),
    _choice("averaging.codec", "averaging.codec", "int8"),
    _number("averaging.rate", "averaging.rate", 1.0),
    _number("averaging.momentum", "averaging.momentum", 0.0),
    Field("run", "min_stages", "int", "run.min_stages", 1, range=STAGES),
    Field("run", "max_stages", "int", "run.max_stages", range=STAGES),
    Field("run", "replicas", "int", "run.replicas", 1, range=Range(1, MAX_REPLICAS)),
    Field("run", "spares", "int", "run.spares", 1, range=Range(0, 8)),
    Field("run", "restarts", "int", "run.restarts", 5, range=Range(0, 1000)),
    Field("budget", "max_credits", "number", "budget.max_credits", 0.0, range=Range(0, 10**12)),
    Field("budget", "max_price", "int", "budget.max_price", range=PRICE),
    Field("budget", "pay_every", "int", "budget.pay_every", 8, range=Range(1, MAX_PAY_EVERY)),
    Field("budget", "lane_hours", "int", "budget.lane_hours", 48, range=Range(1, MAX_LANE_HOURS)),
)

BY_NAME: dict[str, Field] = {field.dotted: field for field in FIELDS}
BY_SPEC: dict[str, Field] = {field.spec: field for field in FIELDS if field.spec}
TABLES: tuple[str, ...] = tuple(dict.fromkeys(field.table for field in FIELDS if field.table))

OTHER_NAMES: dict[str, str] = {
    **{field.spec.rpartition(".")[2]: field.dotted for field in FIELDS if field.spec.rpartition(".")[2] != field.key},
    "epochs": "steps",
    "learning_rate": "optimizer.lr",
    "min_learning_rate": "optimizer.min_lr",
    "warmup": "optimizer.warmup_steps",
    "adam_beta1": "optimizer.beta1",
    "adam_beta2": "optimizer.beta2",
    "max_cost": "budget.max_credits",
    "max_grad_norm": "optimizer.clip",
    "grad_clip": "optimizer.clip",
    "global_batch_size": "batch.sequences",
    "batch_size": "batch.micro_batch_size",
    "gradient_accumulation_steps": "batch.micro_batches",
    "seq_len": "batch.sequence_length",
    "max_seq_len": "batch.sequence_length",
    "n_layers": "model.layers",
    "num_layers": "model.layers",
    "n_heads": "model.heads",
    "num_heads": "model.heads",
    "dim": "model.hidden",
    "d_model": "model.hidden",
    "ffn_size": "model.feed_forward",
}
"""What other programs call these settings."""


def keys_of(table: str) -> list[str]:
    """The settings of a table, as written in the file."""
    return [field.key for field in FIELDS if field.table == table]
