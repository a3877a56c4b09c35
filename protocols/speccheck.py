"""Is a spec from a peer one that an honest submitter could have made?

``parse_spec`` checks form; this checks sense: sizes, numbers, enumerations, and that the data
suffice. After it, the spec's arithmetic stays far from overflow and its memory can be estimated and
judged by admission.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain
from operator import attrgetter

from swarmd.protocols.averagingrules import averaging_faults
from swarmd.protocols.dataorder import windows
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.footprint import parameter_count, stage_memory
from swarmd.protocols.spec import SCHEMA, DataSpec, JobSpec
from swarmd.protocols.specrules import (
    BYTE_VOCABULARY,
    CHOICES,
    INTEGERS,
    MAX_SHARDS,
    MAX_U16_VOCABULARY,
    NAME_RULE,
    NUMBERS,
    TOKENS_PER_SHARD,
    Fault,
    async_faults,
    batch_faults,
    context_faults,
    is_exact_float,
    is_name,
    model_faults,
    schedule_faults,
)
from swarmd.protocols.subspacerules import subspace_faults
from swarmd.protocols.wirerules import wire_faults

__all__ = ["check_spec", "parameter_count", "spec_faults", "stage_memory"]


def check_spec(spec: JobSpec) -> None:
    """Raises ProtocolViolation at the first rule the spec breaks."""
    for fault in spec_faults(spec):
        shown = repr(fault.value)[:40]
        raise ProtocolViolation(f"the job spec's {fault.field} = {shown}: {fault.problem}")


def spec_faults(spec: JobSpec) -> Iterator[Fault]:
    """Rules a spec breaks. Rules between fields are only looked at when every field alone is in order."""
    alone = list(chain(_form_faults(spec), _integer_faults(spec), _number_faults(spec), _choice_faults(spec)))
    if alone:
        yield from alone
        return
    yield from chain(model_faults(spec.model), subspace_faults(spec.model, spec.numerics))
    yield from batch_faults(spec.batch)
    yield from context_faults(spec.model, spec.batch)
    yield from schedule_faults(spec.schedule, spec.optimizer, spec.batch)
    yield from async_faults(spec.schedule, spec.optimizer)
    yield from averaging_faults(spec.averaging, spec.batch, spec.schedule, spec.numerics)
    yield from wire_faults(spec.wire, spec.model.num_hidden_layers)
    yield from _tokenizer_faults(spec)
    yield from _shard_faults(spec.data)
    yield from _enough_data_faults(spec)


def _form_faults(spec: JobSpec) -> Iterator[Fault]:
    if spec.schema != SCHEMA:
        yield Fault("schema", spec.schema, f"must be {SCHEMA}")
    if not is_name(spec.name):
        yield Fault("name", spec.name, NAME_RULE)


def _integer_faults(spec: JobSpec) -> Iterator[Fault]:
    for field, allowed in INTEGERS.items():
        value: int | None = attrgetter(field)(spec)
        if value is not None and not allowed.holds(value):
            yield Fault(field, value, f"must be {allowed.words()}")


def _number_faults(spec: JobSpec) -> Iterator[Fault]:
    for field, allowed in NUMBERS.items():
        value: str = attrgetter(field)(spec)
        if len(value) > 32 or not is_exact_float(value):
            yield Fault(field, value, "must be a finite number as Python spells it")
        elif not allowed.holds(float(value)):
            yield Fault(field, value, f"must be {allowed.words()}")


def _choice_faults(spec: JobSpec) -> Iterator[Fault]:
    for field, allowed in CHOICES.items():
        value: str = attrgetter(field)(spec)
        if value not in allowed:
            yield Fault(field, value, f"must be {' or '.join(allowed)}")


def _tokenizer_faults(spec: JobSpec) -> Iterator[Fault]:
    tokenizer, vocabulary = spec.tokenizer, spec.model.vocab_size
    if (tokenizer.kind == "file") != (tokenizer.file is not None):
        yield Fault("tokenizer.file", tokenizer.file, "must be there for kind file, and only then")
    if tokenizer.kind == "bytes" and vocabulary < BYTE_VOCABULARY:
        yield Fault("model.vocab_size", vocabulary, f"must be at least {BYTE_VOCABULARY} for bytes")
    width = dtype_for(vocabulary)
    if spec.data.dtype != width:
        yield Fault("data.dtype", spec.data.dtype, f"must be {width} for a vocabulary of {vocabulary}")


def dtype_for(vocabulary: int) -> str:
    """The width of one token id: ``u16`` where every id fits it, else ``u32``."""
    return "u16" if vocabulary <= MAX_U16_VOCABULARY else "u32"


def _shard_faults(data: DataSpec) -> Iterator[Fault]:
    for field, shards in (("data.train", data.train), ("data.held_out", data.held_out)):
        if not 1 <= len(shards) <= MAX_SHARDS:
            yield Fault(field, len(shards), f"must be 1 to {MAX_SHARDS} shards")
        for shard in shards:
            if not 1 <= shard.tokens <= TOKENS_PER_SHARD:
                yield Fault(field, shard.tokens, f"must be 1 to {TOKENS_PER_SHARD} tokens per shard")


def _enough_data_faults(spec: JobSpec) -> Iterator[Fault]:
    batch, length = spec.batch, spec.batch.sequence_length
    step = batch.micro_batch_size * batch.micro_batches
    train, held_out = (windows(n, length) for n in (spec.data.train_tokens, spec.data.held_out_tokens))
    if train < step:
        yield Fault("data.train", spec.data.train_tokens, f"gives {train} windows; one step needs {step}")
    if held_out < spec.schedule.eval_windows:
        problem = f"is over the {held_out} windows of the held-out data"
        yield Fault("schedule.eval_windows", spec.schedule.eval_windows, problem)
