"""Sizes of models and the memory of stages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from swarmd.protocols.footprint import boundary_bytes, layer_activations, most_held, parameter_count, stage_memory
from swarmd.protocols.spec import ModelSpec, NumericsSpec
from tests.protocols.specs import SPEC

LLAMA_2_7B = ModelSpec(
    vocab_size=32_000,
    hidden_size=4096,
    intermediate_size=11_008,
    num_hidden_layers=32,
    num_attention_heads=32,
    num_key_value_heads=32,
    max_position_embeddings=4096,
)
LLAMA_3_8B = replace(
    LLAMA_2_7B, vocab_size=128_256, intermediate_size=14_336, num_key_value_heads=8, rope_theta="500000.0"
)


@pytest.mark.parametrize(("model", "count"), [(LLAMA_2_7B, 6_738_415_616), (LLAMA_3_8B, 8_030_261_248)])
def test_published_models_have_their_published_sizes(model: ModelSpec, count: int) -> None:
    assert parameter_count(model) == count


def test_the_stages_of_a_cut_need_what_the_whole_needs_and_a_boundary_more() -> None:
    whole = stage_memory(SPEC, 0, 2, 1)
    parts = stage_memory(SPEC, 0, 1, 1) + stage_memory(SPEC, 1, 2, 1)
    assert parts - whole == 2 * boundary_bytes(SPEC.model, SPEC.batch)


def test_memory_grows_with_micro_batches_held_and_layers() -> None:
    spec = replace(SPEC, model=replace(SPEC.model, num_hidden_layers=6))
    assert stage_memory(spec, 2, 4, 2) > stage_memory(spec, 2, 4, 1)
    assert stage_memory(spec, 2, 5, 1) > stage_memory(spec, 2, 4, 1)
    assert stage_memory(spec, 0, 2, 1) > stage_memory(spec, 2, 4, 1)
    assert stage_memory(spec, 4, 6, 1) > stage_memory(spec, 2, 4, 1)


def test_with_recompute_a_micro_batch_keeps_the_inputs_of_layers() -> None:
    spec = replace(SPEC, model=replace(SPEC.model, num_hidden_layers=6))
    edge = boundary_bytes(spec.model, spec.batch)
    one, two, five = (stage_memory(spec, 2, 5, held, recompute=True) for held in (1, 2, 5))
    assert two - one == (3 + 2) * edge
    assert five - one == 4 * (two - one)
    assert two < stage_memory(spec, 2, 5, 2)


def test_exact_sums_cost_four_bytes_a_parameter_more() -> None:
    ordered = replace(SPEC, numerics=NumericsSpec(sum="ordered"))
    assert stage_memory(SPEC, 0, 2, 1) - stage_memory(ordered, 0, 2, 1) == 4 * parameter_count(SPEC.model)


def test_bfloat16_halves_most_activations_and_copies_each_weight_once_a_version() -> None:
    half = replace(SPEC, numerics=NumericsSpec(dtype="bfloat16"))
    assert 0.5 < layer_activations(half) / layer_activations(SPEC) < 0.75
    stale = replace(SPEC.schedule, async_after=1)
    for schedule, copies in ((SPEC.schedule, 1), (stale, 2)):
        full, less = (replace(spec, schedule=schedule) for spec in (SPEC, half))
        added = copies * 2 * parameter_count(SPEC.model) - 2 * (layer_activations(full) - layer_activations(less))
        assert stage_memory(less, 0, 2, 1) - stage_memory(full, 0, 2, 1) == added


def test_in_subspace_form_every_stage_holds_the_token_table() -> None:
    narrow = replace(SPEC, model=replace(SPEC.model, subspace=4))
    for first, end in ((0, 1), (1, 2)):
        assert stage_memory(narrow, first, end, 1) - stage_memory(SPEC, first, end, 1) == 4 * 8 * (256 + 4)


def test_stale_steps_cost_a_second_copy_of_the_weights_and_may_hold_two_steps_micro_batches() -> None:
    stale = replace(SPEC, schedule=replace(SPEC.schedule, async_after=1))
    assert stage_memory(stale, 0, 2, 1) - stage_memory(SPEC, 0, 2, 1) == 4 * parameter_count(SPEC.model)
    assert (most_held(SPEC), most_held(stale)) == (3, 6)


@pytest.mark.parametrize(("first", "end", "held"), [(-1, 1, 1), (0, 3, 1), (1, 1, 1), (0, 1, 0)])
def test_a_range_outside_the_model_is_no_stage(first: int, end: int, held: int) -> None:
    with pytest.raises(ValueError, match="no stage"):
        stage_memory(SPEC, first, end, held)
