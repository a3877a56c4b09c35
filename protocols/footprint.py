"""How large a model is: parameters, and the memory a stage of it needs while training.

Admission and the planner ask the same functions, so a node never accepts a stage that the planner
believed to be smaller. Figures are bytes of float32 tensors and are meant to be a little too high: a model in
subspace form counts as many numbers as one of full rank.
"""

from __future__ import annotations

from swarmd.protocols.spec import BatchSpec, JobSpec, ModelSpec

FLOAT = 4
WEIGHT_AND_MOMENTS = 3 * FLOAT
"""Per parameter: the weight, and AdamW's two moments."""
SUM_BYTES = {"exact": 8, "ordered": 4}
"""Per parameter: the gradient sum over micro-batches."""
COPY_BYTES = {"float32": 0, "bfloat16": 2}
"""Per parameter: the copy that products are computed with."""
PRODUCT_BYTES = {"float32": 4, "bfloat16": 2}
"""Per number that goes into a product or comes out of it."""


def layer_parameters(model: ModelSpec) -> int:
    """Numbers in one decoder block."""
    hidden = model.hidden_size
    shared = hidden * model.num_key_value_heads // model.num_attention_heads
    attention = 2 * hidden * hidden + 2 * hidden * shared
    return attention + 3 * hidden * model.intermediate_size + 2 * hidden


def embedding_parameters(model: ModelSpec) -> int:
    """Numbers in the token table."""
    return model.vocab_size * model.hidden_size


def head_parameters(model: ModelSpec) -> int:
    """Numbers in the final norm and the output matrix."""
    return model.vocab_size * model.hidden_size + model.hidden_size


def parameter_count(model: ModelSpec) -> int:
    """Numbers in the whole model."""
    layers = model.num_hidden_layers * layer_parameters(model)
    return layers + embedding_parameters(model) + head_parameters(model)


def layer_activations(spec: JobSpec) -> int:
    """Bytes that one block keeps for the backward pass of one micro-batch.

    Per token: nine rows of hidden width (block input, two norms and their outputs, queries before and
    after rotation, attention's output, the residual sum), four of key width, four of feed-forward width;
    and attention weights, before and after the softmax. What enters a norm, what it makes of that before its weights,
    and what a softmax gives are float32; all else has the type of products.
    """
    model, batch, width = spec.model, spec.batch, PRODUCT_BYTES[spec.numerics.dtype]
    hidden, heads = model.hidden_size, model.num_attention_heads
    shared = hidden * model.num_key_value_heads // heads
    tokens = batch.sequence_length * batch.micro_batch_size
    rows = FLOAT * 4 * hidden + width * (5 * hidden + 4 * shared + 4 * model.intermediate_size)
    return tokens * (rows + (FLOAT + width) * heads * batch.sequence_length)


def frozen_bytes(model: ModelSpec) -> int:
    """Bytes that every stage of a model in subspace form holds and never trains: token table and basis."""
    return FLOAT * model.hidden_size * (model.vocab_size + model.subspace) if model.subspace else 0


def boundary_bytes(model: ModelSpec, batch: BatchSpec) -> int:
    """Bytes of one micro-batch's hidden states: what crosses between stages, raw."""
    return FLOAT * model.hidden_size * batch.sequence_length * batch.micro_batch_size


def logits_bytes(model: ModelSpec, batch: BatchSpec) -> int:
    """Bytes the head needs for one micro-batch: logits, log-probabilities, and their gradient."""
    return 3 * FLOAT * model.vocab_size * batch.sequence_length * batch.micro_batch_size


def unit_memory(spec: JobSpec, parameters: int) -> int:
    """Bytes for a unit's weights, moments, gradient sum and one micro-batch's gradient; a second version's weights."""
    copy = COPY_BYTES[spec.numerics.dtype]
    second = FLOAT + copy if spec.schedule.asynchronous else 0
    each = WEIGHT_AND_MOMENTS + copy + SUM_BYTES[spec.numerics.sum] + FLOAT + second + _averaging(spec)
    return parameters * each


def _averaging(spec: JobSpec) -> int:
    """Bytes per parameter of a replica that trains apart: anchor, momentum, what was told, and what all others tell."""
    if spec.lanes == 1:
        return 0
    return 3 * FLOAT + spec.lanes * WEIGHT_AND_MOMENTS


def part_bytes(parameters: int) -> int:
    """Bytes that a replica of a stage sends another in a step, and keeps besides its own for what the others send."""
    return SUM_BYTES["exact"] * parameters


def past_bytes(parameters: int) -> int:
    """Bytes of the version before the newest one, which every stage keeps where one has replicas."""
    return WEIGHT_AND_MOMENTS * parameters


def most_held(spec: JobSpec) -> int:
    """The most micro-batches that a stage can be between forward and backward with: all of the steps that are open."""
    return spec.batch.micro_batches * (2 if spec.schedule.asynchronous else 1)


def held_memory(spec: JobSpec, layers: int, held: int, *, recompute: bool = False) -> int:
    """Bytes that so many layers keep of ``held`` micro-batches between forward and backward.

    With ``recompute`` they keep their inputs, and the layer that is gone back over its activations again.
    """
    edge = boundary_bytes(spec.model, spec.batch)
    if recompute:
        return held * (layers + 2) * edge + layer_activations(spec)
    return held * (layers * layer_activations(spec) + 2 * edge)


def stage_memory(
    spec: JobSpec,
    first: int,
    end: int,
    held: int,
    *,
    recompute: bool = False,
    shared: bool = False,
    keeps: bool = False,
) -> int:
    """Bytes that layers first..end-1 need while ``held`` micro-batches are in flight.

    ``shared``: at a replica. ``keeps``: with the version before the newest one.
    The stage from layer 0 also holds the token table; the stage to the last layer, the head.
    Raises ValueError for a range outside the model.
    """
    model, batch = spec.model, spec.batch
    if not 0 <= first < end <= model.num_hidden_layers or held < 1:
        raise ValueError(f"layers {first}..{end - 1} with {held} micro-batches are no stage of this model")
    units = (first == 0) * embedding_parameters(model) + (end == model.num_hidden_layers) * head_parameters(model)
    units += (end - first) * layer_parameters(model)
    total = unit_memory(spec, units) + (part_bytes(units) if shared else 0) + (past_bytes(units) if keeps else 0)
    total += held_memory(spec, end - first, held, recompute=recompute)
    total += frozen_bytes(model)
    if end == model.num_hidden_layers:
        total += logits_bytes(model, batch)
    return total
