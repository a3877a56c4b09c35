"""Specs from peers: each hostile one is refused, by name, without a crash; honest ones are not."""

from __future__ import annotations

from dataclasses import fields, is_dataclass, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.canonical import Value, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.records import to_value
from swarmd.protocols.spec import SCHEMA, JobSpec, ShardSpec, WireSpec, parse_spec
from swarmd.protocols.speccheck import check_spec, parameter_count, spec_faults, stage_memory
from swarmd.protocols.specrules import CHOICES, INTEGERS, NUMBERS, is_exact_float, is_name
from tests.protocols.specs import BLOB, SPEC

HUGE = (1 << 63) - 1
NOT_EXACT = ["nan", "inf", "-inf", "0x1p3", "1", "1.50", "+1.5", "1_0.0", "1e400", "", " 0.1"]
NOT_EXACT += ["0.1" + "0" * 999, "\u0661.0"]


def with_field(spec: JobSpec, dotted: str, value: object) -> JobSpec:
    table, _, key = dotted.rpartition(".")
    if not table:
        return replace(spec, **{key: value})
    return replace(spec, **{table: replace(getattr(spec, table), **{key: value})})


def test_an_honest_spec_passes() -> None:
    check_spec(SPEC)
    check_spec(parse_spec(SPEC.to_bytes()))


def test_a_synchronous_spec_has_the_id_that_it_had_before_there_were_others() -> None:
    assert SPEC.spec_id == "494668e69cfc5545f7596f1cf83a032b90d51f442de7208113a56630ca22c457"


def test_an_asynchronous_spec_is_another_one_and_crosses_the_network() -> None:
    stale = with_field(SPEC, "schedule.async_after", 5)
    check_spec(stale)
    assert parse_spec(stale.to_bytes()) == stale
    assert stale.spec_id != SPEC.spec_id


@pytest.mark.parametrize("after", [-1, 2, 10])
def test_a_peers_stale_steps_begin_after_the_warm_up_and_before_the_end(after: int) -> None:
    warm = with_field(SPEC, "optimizer.warmup_steps", 3)
    with pytest.raises(ProtocolViolation, match=rf"schedule.async_after = {after}: "):
        check_spec(with_field(warm, "schedule.async_after", after))


@pytest.mark.parametrize("field", sorted(INTEGERS))
@pytest.mark.parametrize("value", [-1, -HUGE, HUGE])
def test_whole_numbers_are_bounded(field: str, value: int) -> None:
    with pytest.raises(ProtocolViolation, match=rf"{field} = {value}: must be from"):
        check_spec(with_field(SPEC, field, value))


@pytest.mark.parametrize("field", sorted(NUMBERS))
@pytest.mark.parametrize("text", NOT_EXACT)
def test_numbers_have_one_spelling_and_are_finite(field: str, text: str) -> None:
    with pytest.raises(ProtocolViolation, match=rf"{field} = .*finite number as Python spells it"):
        check_spec(with_field(SPEC, field, text))


@pytest.mark.parametrize("field", sorted(NUMBERS))
def test_numbers_are_bounded(field: str) -> None:
    for text in ("-0.5", "1e+300"):
        with pytest.raises(ProtocolViolation, match=rf"{field} = .*must be"):
            check_spec(with_field(SPEC, field, text))


@pytest.mark.parametrize("field", sorted(CHOICES))
def test_unknown_words_are_refused(field: str) -> None:
    with pytest.raises(ProtocolViolation, match=rf"{field} = 'zip': must be"):
        check_spec(with_field(SPEC, field, "zip"))


SHARD = ShardSpec(blob=BLOB, tokens=161)

HOSTILE: list[tuple[str, object, str]] = [
    ("schema", SCHEMA + 1, "must be 1"),
    ("name", "", "must be 1 to 64 letters"),
    ("name", "\x1b[2J", "must be 1 to 64 letters"),
    ("name", "a" * 65, "must be 1 to 64 letters"),
    ("name", "../up", "must be 1 to 64 letters"),
    ("name", "new\nline", "must be 1 to 64 letters"),
    ("name", "line\n", "must be 1 to 64 letters"),
    ("wire.boundaries", (1,), "raw loses nothing, so stages may be cut anywhere"),
    ("wire.forward", "int8", "does not go with int8; pairs are raw with raw, .*int8 with int4"),
    ("model.num_attention_heads", 3, "must divide by heads"),
    ("model.num_attention_heads", 8, "must be even"),
    ("model.num_key_value_heads", 4, "must divide by kv_heads"),
    ("model.max_position_embeddings", 8, "is over the model's context"),
    ("model.subspace", 10, r"is over hidden \(8\)"),
    ("model.subspace", 3, "must be even"),
    ("model.vocab_size", 255, "must be at least 256 for bytes"),
    ("model.vocab_size", 65_537, "must be u32 for a vocabulary of 65537"),
    ("data.dtype", "u32", "must be u16 for a vocabulary of 256"),
    ("tokenizer.kind", "file", "must be there for kind file"),
    ("tokenizer.file", BLOB, "must be there for kind file"),
    ("data.train", (), "must be 1 to 4096 shards"),
    ("data.held_out", (), "must be 1 to 4096 shards"),
    ("data.train", (SHARD,) * 4097, "must be 1 to 4096 shards"),
    ("data.train", (SHARD, ShardSpec(blob=BLOB, tokens=0)), "tokens per shard"),
    ("data.train", (SHARD, ShardSpec(blob=BLOB, tokens=-161)), "tokens per shard"),
    ("data.train", (ShardSpec(blob=BLOB, tokens=(1 << 20) + 1),), "tokens per shard"),
    ("data.train", (ShardSpec(blob=BLOB, tokens=96),), "gives 5 windows; one step needs 6"),
    ("schedule.eval_windows", 8, "is over the 7 windows of the held-out data"),
    ("schedule.eval_windows", 3, "must be a multiple of micro_batch_size"),
    ("schedule.steps", 9, "is over steps"),
    ("optimizer.min_lr", "0.002", "is over lr"),
    ("batch.sequence_length", 17, "is over the model's context"),
]


@pytest.mark.parametrize(("field", "value", "problem"), HOSTILE)
def test_a_hostile_spec_is_refused(field: str, value: object, problem: str) -> None:
    base = with_field(SPEC, "optimizer.warmup_steps", 10)
    with pytest.raises(ProtocolViolation, match=problem):
        check_spec(with_field(base, field, value))


INT8 = WireSpec(forward="int8", backward="int8", boundaries=(1,))


@pytest.mark.parametrize("boundaries", [(), (0,), (-1,), (2,), (1, 1), (HUGE,), (1, 2)])
def test_boundaries_are_evenly_spaced(boundaries: tuple[int, ...]) -> None:
    with pytest.raises(ProtocolViolation, match=r"must be evenly spaced and reach through all 2 layers; use \[1\]"):
        check_spec(replace(SPEC, wire=replace(INT8, boundaries=boundaries)))


def test_a_lossy_wire_passes_with_even_boundaries() -> None:
    check_spec(replace(SPEC, wire=INT8))
    deep = replace(SPEC, model=replace(SPEC.model, num_hidden_layers=8))
    for boundaries in ((1, 2, 3, 4, 5, 6, 7), (2, 4, 6), (3, 6), (7,)):
        check_spec(replace(deep, wire=replace(INT8, boundaries=boundaries)))


def test_one_layer_has_no_boundary() -> None:
    flat = replace(SPEC, model=replace(SPEC.model, num_hidden_layers=1))
    with pytest.raises(ProtocolViolation, match=r"one layer has no boundary .* use raw"):
        check_spec(replace(flat, wire=replace(INT8, boundaries=())))


def test_a_subspace_needs_a_boundary_and_seeded_weights() -> None:
    narrow = with_field(SPEC, "model.subspace", 4)
    check_spec(narrow)
    check_spec(parse_spec(narrow.to_bytes()))
    for field, value, problem in (("num_hidden_layers", 1, "one layer sends nothing"), ("weights", BLOB, "full rank")):
        with pytest.raises(ProtocolViolation, match=problem):
            check_spec(with_field(narrow, f"model.{field}", value))


def test_a_model_without_a_subspace_is_written_as_before_there_was_one() -> None:
    assert len(to_value(SPEC.model)) == 11
    assert to_value(with_field(SPEC, "model.subspace", 4).model)[-1] == 4


def test_every_field_that_is_wrong_by_itself_is_named() -> None:
    spec = with_field(with_field(SPEC, "name", ""), "schedule.steps", 0)
    assert [fault.field for fault in spec_faults(spec)] == ["name", "schedule.steps"]


@pytest.mark.parametrize("value", [(), (SCHEMA + 1,), 1, None])
def test_bytes_of_another_schema_are_no_spec(value: Value) -> None:
    with pytest.raises(ProtocolViolation, match="of another schema than 1"):
        parse_spec(encode(value))


def test_what_follows_from_a_spec() -> None:
    assert SPEC.model.head_dim == 4
    assert SPEC.batch.tokens_per_step == 16 * 2 * 3


def test_a_model_beyond_any_swarm_is_refused() -> None:
    sizes = {"hidden_size": 65_536, "num_hidden_layers": 512, "intermediate_size": 1 << 20}
    giant = replace(SPEC, model=replace(SPEC.model, **sizes))
    with pytest.raises(ProtocolViolation, match="billion parameters"):
        check_spec(giant)


def test_a_micro_batch_beyond_any_node_is_refused() -> None:
    spec = with_field(with_field(SPEC, "batch.micro_batch_size", 4096), "batch.sequence_length", 257)
    with pytest.raises(ProtocolViolation, match="over 1048576 tokens"):
        check_spec(spec)


@pytest.mark.parametrize("text", ["0.1", "1e-08", "-0.0", "1.0", "5e-324"])
def test_what_python_writes_is_exact(text: str) -> None:
    assert is_exact_float(text)


@pytest.mark.parametrize("name", ["a", "A-b_c.2", "9", "x" * 64])
def test_good_names(name: str) -> None:
    assert is_name(name)


LEAVES = [
    f"{outer.name}.{inner.name}"
    for outer in fields(SPEC)
    if is_dataclass(getattr(SPEC, outer.name))
    for inner in fields(getattr(SPEC, outer.name))
    if isinstance(getattr(getattr(SPEC, outer.name), inner.name), int)
]


@pytest.mark.slow
@given(st.dictionaries(st.sampled_from(LEAVES), st.integers(-(1 << 63), HUGE) | st.integers(-2, 70), max_size=4))
@settings(max_examples=300, deadline=None)
def test_no_numbers_crash_the_check_and_what_passes_can_be_estimated(changes: dict[str, Any]) -> None:
    spec = SPEC
    for field, value in changes.items():
        spec = with_field(spec, field, value)
    if not list(spec_faults(spec)):
        assert 0 < stage_memory(spec, 0, spec.model.num_hidden_layers, 4) < 1 << 62
        assert parameter_count(spec.model) > 0
