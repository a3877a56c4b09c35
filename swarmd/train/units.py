"""The units of a model: what is placed, clipped, stored and hashed as one.

They are ``embed``, ``layers.0`` ... and ``head``. A stage that holds layers [first, end) also holds the
embedding if it is the first stage and the head if it is the last. Nothing here needs torch.

In a model in subspace form the *narrow* matrices, those that add to the residual stream before the last block, give
the K coefficients of a subspace instead of ``hidden`` values.
"""

from __future__ import annotations

from swarmd.protocols.checkpoint import EMBED, HEAD, layer_unit
from swarmd.protocols.spec import ModelSpec

Shapes = dict[str, tuple[int, ...]]

TABLE = "model.embed_tokens.weight"
RESIDUAL_OUTPUTS = ("self_attn.o_proj.weight", "mlp.down_proj.weight")


def stage_units(model: ModelSpec, first: int, end: int) -> tuple[str, ...]:
    """The units of a stage that holds layers [first, end), in the order data flows through them."""
    blocks = tuple(layer_unit(index) for index in range(first, end))
    return (EMBED,) * (first == 0) + blocks + (HEAD,) * (end == model.num_hidden_layers)


def unit_shapes(model: ModelSpec, unit: str) -> Shapes:
    """Shapes of a unit's parameters under their Hugging Face names, in name order."""
    hidden, vocab = model.hidden_size, model.vocab_size
    if unit == EMBED:
        return {TABLE: (vocab, model.boundary_width)}
    if unit == HEAD:
        return {"lm_head.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    written = model.subspace if narrow_names(model, unit) else hidden
    return {f"model.{unit}.{name}.weight": shape for name, shape in sorted(_block_shapes(model, written).items())}


def narrow_names(model: ModelSpec, unit: str) -> tuple[str, ...]:
    """Names of a unit's matrices that give coefficients of a subspace."""
    if unit == EMBED:
        return (TABLE,) if model.subspace else ()
    if unit == HEAD or not model.is_narrow(int(unit.removeprefix("layers."))):
        return ()
    return tuple(f"model.{unit}.{name}" for name in RESIDUAL_OUTPUTS)


def _block_shapes(model: ModelSpec, written: int) -> Shapes:
    """``written``: how many numbers per token the block adds to."""
    hidden, inner = model.hidden_size, model.intermediate_size
    queries, keys = (heads * model.head_dim for heads in (model.num_attention_heads, model.num_key_value_heads))
    return {
        "input_layernorm": (hidden,),
        "self_attn.q_proj": (queries, hidden),
        "self_attn.k_proj": (keys, hidden),
        "self_attn.v_proj": (keys, hidden),
        "self_attn.o_proj": (written, queries),
        "post_attention_layernorm": (hidden,),
        "mlp.gate_proj": (inner, hidden),
        "mlp.up_proj": (inner, hidden),
        "mlp.down_proj": (written, inner),
    }
