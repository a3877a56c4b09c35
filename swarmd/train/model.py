"""A Llama-family decoder, with Hugging Face's names and conventions, as functions of its weights.

    x_BTD = embedding[tokens_BT]
    for each block:  x += attention(norm(x));  x += swiglu(norm(x))
    logits_BTV = norm(x) @ head

What a block does is in ``swarmd.train.layers``. In subspace form (``swarmd.train.subspace``) every block but the last
reads hidden states that are lifted from coefficients c_BTK, and adds to c.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from swarmd.protocols.checkpoint import EMBED, HEAD, layer_unit
from swarmd.protocols.spec import ModelSpec, WireSpec
from swarmd.train.codecs import cross
from swarmd.train.compiled import compiled_block
from swarmd.train.layers import Lift, Weights, as_it_is, block, norm, positions, product
from swarmd.train.recompute import recomputed
from swarmd.train.subspace import Subspace
from swarmd.train.units import TABLE

PLAIN = WireSpec()


class Model:
    """Consecutive units of a decoder. Called with what enters the first, it gives what leaves the last."""

    def __init__(
        self,
        spec: ModelSpec,
        weights: Mapping[str, Weights],
        wire: WireSpec = PLAIN,
        subspace: Subspace | None = None,
        *,
        recompute: bool = False,
        compiled: bool = False,
    ) -> None:
        """``weights`` holds each unit's parameters by their full names, units in the order of the data.

        What passes one of the wire's boundaries between two units goes through its codecs, forward and back.
        ``subspace`` is that of a spec in subspace form. With ``recompute`` a block keeps only what
        enters it. ``compiled`` is for training steps of a model of full rank.
        """
        self.spec = spec
        self.weights = weights
        self._subspace = subspace
        self._last = layer_unit(spec.num_hidden_layers - 1)
        self._wire = wire
        self._recompute, self._compiled = recompute, compiled
        self._crossed = {layer_unit(layer) for layer in wire.boundaries} - set(list(weights)[:1])
        self.parameters = {name: tensor for unit in weights.values() for name, tensor in unit.items()}

    def __call__(self, x: Tensor, ids: Tensor | None = None) -> Tensor:
        """Token ids [B, T] int64 if the first unit is the embedding, else hidden states [B, T, D] float32.

        Gives hidden states, or logits [B, T, V] if the last unit is the head, float32 both. In subspace form
        coefficients [B, T, K] come and go instead of hidden states; if they come, ``ids`` are their tokens.
        """
        for unit, weights in self.weights.items():
            if unit in self._crossed:
                x = cross(self._wire, x)
            if unit == EMBED:
                ids, x = x, F.embedding(x, weights[TABLE])
            elif unit == HEAD:
                x = product(norm(x, weights["model.norm.weight"], self.spec), weights["lm_head.weight"]).float()
            else:
                run = partial(self._block, unit, ids, self._compiled and torch.is_grad_enabled())
                x = recomputed(run, x, weights) if self._recompute else run(x, weights)
        return x

    def _block(self, unit: str, ids: Tensor | None, compiled: bool, x: Tensor, weights: Weights) -> Tensor:
        at, lift = f"model.{unit}", self._lift(ids)
        where = positions(self.spec, x.shape[1], x.device, weights[f"{at}.self_attn.q_proj.weight"].dtype)
        if compiled:
            return compiled_block(x, weights, at, self.spec, where)
        if unit == self._last:
            return block(lift(x), weights, at, self.spec, where)
        return block(x, weights, at, self.spec, where, lift)

    def _lift(self, ids: Tensor | None) -> Lift:
        if self._subspace is None or ids is None:
            return as_it_is
        return partial(self._subspace.lift, ids=ids)


def config_json(spec: ModelSpec) -> dict[str, Any]:
    """Hugging Face's ``config.json`` for this model."""
    theta = float(spec.rope_theta)
    return {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": spec.vocab_size,
        "hidden_size": spec.hidden_size,
        "intermediate_size": spec.intermediate_size,
        "num_hidden_layers": spec.num_hidden_layers,
        "num_attention_heads": spec.num_attention_heads,
        "num_key_value_heads": spec.num_key_value_heads,
        "head_dim": spec.head_dim,
        "max_position_embeddings": spec.max_position_embeddings,
        "rms_norm_eps": float(spec.rms_norm_eps),
        "initializer_range": float(spec.initializer_range),
        "hidden_act": "silu",
        "attention_bias": False,
        "mlp_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": False,
        "rope_theta": theta,
        "rope_parameters": {"rope_type": "default", "rope_theta": theta},
        "bos_token_id": None,
        "eos_token_id": None,
        "dtype": "float32",
    }
