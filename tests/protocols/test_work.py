"""Work: operations counted from the spec alone, the same for payer and provider."""

from __future__ import annotations

from swarmd.protocols.footprint import head_parameters, layer_parameters
from swarmd.protocols.work import PRICED_OPERATIONS, amount_of, backward_operations, forward_operations
from tests.protocols.specs import SPEC

LAYERS = SPEC.model.num_hidden_layers


def test_the_parts_of_a_cut_model_do_the_work_of_the_whole():
    whole = forward_operations(SPEC, 0, LAYERS)
    assert whole == sum(forward_operations(SPEC, layer, layer + 1) for layer in range(LAYERS))


def test_only_the_last_stage_has_the_output_matrix():
    tokens = SPEC.batch.sequence_length * SPEC.batch.micro_batch_size
    attention = 4 * SPEC.batch.sequence_length * SPEC.model.hidden_size
    first = tokens * (2 * layer_parameters(SPEC.model) + attention)
    assert forward_operations(SPEC, 0, 1) == first
    assert forward_operations(SPEC, LAYERS - 1, LAYERS) == first + 2 * tokens * head_parameters(SPEC.model)


def test_the_way_back_costs_twice_the_way_there():
    assert backward_operations(SPEC, 0, LAYERS) == 2 * forward_operations(SPEC, 0, LAYERS)


def test_the_amount_is_rounded_down_once_over_all_operations():
    assert amount_of(PRICED_OPERATIONS, 7) == 7
    assert amount_of(PRICED_OPERATIONS - 1, 7) == 6
    assert amount_of(3 * (PRICED_OPERATIONS // 2), 1) == 1
    assert amount_of(0, 7) == 0
