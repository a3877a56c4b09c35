"""A Llama-family decoder, with Hugging Face's names and conventions, as functions of its weights.

    x_BTD = embedding[tokens_BT]
    for each block:  x += attention(norm(x));  x += swiglu(norm(x))
    logits_BTV = norm(x) @ head

B sequences, T tokens, D = hidden size, H query heads, K key-value heads, E = values per head, G = H / K.
RMSNorm: Zhang & Sennrich 2019. Rotary embedding: Su et al. 2021, in Hugging Face's half-split form, so the
weights open in ``transformers``. SwiGLU: Shazeer 2020. Grouped-query attention: Ainslie et al. 2023.

In subspace form (``swarmd.train.subspace``) every block but the last reads hidden states that are lifted from
coefficients c_BTK, and adds to c.

Attention is matrix products and a softmax over the whole T x T square. A fused kernel would need less memory,
but which one torch picks, and how it splits its sums, depends on more than shapes; these products do not.

A matrix product is computed in the type of its weights: float32, or bfloat16 (``swarmd.train.working``). Norms,
softmax, rotations and what goes from block to block are float32 either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from swarmd.protocols.checkpoint import EMBED, HEAD, layer_unit
from swarmd.protocols.spec import ModelSpec, WireSpec
from swarmd.train.codecs import cross
from swarmd.train.recompute import recomputed
from swarmd.train.subspace import Subspace
from swarmd.train.units import TABLE

Weights = Mapping[str, Tensor]
Lift = Callable[[Tensor], Tensor]
PLAIN = WireSpec()


def _as_it_is(x: Tensor) -> Tensor:
    return x


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
    ) -> None:
        """``weights`` holds each unit's parameters by their full names, units in the order of the data.

        What passes one of the wire's boundaries between two units goes through its codecs, forward and back.
        ``subspace`` is that of a spec in subspace form. With ``recompute`` a block keeps only what enters it.
        """
        self.spec = spec
        self.weights = weights
        self._subspace = subspace
        self._last = layer_unit(spec.num_hidden_layers - 1)
        self._wire = wire
        self._recompute = recompute
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
                x = _product(_norm(x, weights["model.norm.weight"], self.spec), weights["lm_head.weight"]).float()
            else:
                run = partial(self._block, unit, ids)
                x = recomputed(run, x, weights) if self._recompute else run(x, weights)
        return x

    def _block(self, unit: str, ids: Tensor | None, x: Tensor, weights: Weights) -> Tensor:
        lift: Lift = _as_it_is
        if self._subspace is not None and ids is not None:
            lift = partial(self._subspace.lift, ids=ids)
        if unit == self._last:
            return block(lift(x), weights, f"model.{unit}", self.spec)
        return block(x, weights, f"model.{unit}", self.spec, lift)


def block(x: Tensor, weights: Weights, at: str, spec: ModelSpec, lift: Lift = _as_it_is) -> Tensor:
    """One decoder block, [B, T, D] to [B, T, D]; its parameters' names begin with ``at``.

    A narrow one takes and gives coefficients [B, T, K], of which ``lift`` makes hidden states.
    """
    entered = _norm(lift(x), weights[f"{at}.input_layernorm.weight"], spec)
    x = x + attention(entered, weights, f"{at}.self_attn", spec)
    between = _norm(lift(x), weights[f"{at}.post_attention_layernorm.weight"], spec)
    return x + swiglu(between, weights, f"{at}.mlp")


def attention(x: Tensor, weights: Weights, at: str, spec: ModelSpec) -> Tensor:
    """Causal grouped-query attention, [B, T, D] to [B, T, D], or to [B, T, K] in a narrow block."""
    batch, length, _ = x.shape
    dtype = weights[f"{at}.q_proj.weight"].dtype
    x = x.to(dtype)
    heads, keys, size = spec.num_attention_heads, spec.num_key_value_heads, spec.head_dim
    groups = heads // keys
    cos, sin = rotary_table(spec, length, x.device)
    q = F.linear(x, weights[f"{at}.q_proj.weight"]).view(batch, length, heads, size)
    k = F.linear(x, weights[f"{at}.k_proj.weight"]).view(batch, length, keys, size)
    v = F.linear(x, weights[f"{at}.v_proj.weight"]).view(batch, length, keys, size)
    # The queries that share a key head lie one after another: one matrix product serves them all.
    q = _rotate(q, cos, sin).to(dtype).view(batch, length, keys, groups, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(batch * keys, groups * length, size)
    k = _rotate(k, cos, sin).to(dtype).transpose(1, 2).reshape(batch * keys, length, size)
    v = v.transpose(1, 2).reshape(batch * keys, length, size)
    scores = torch.baddbmm(causal_mask(length, groups, x.device, dtype), q, k.transpose(1, 2), alpha=size**-0.5)
    mixed = torch.softmax(scores.float(), -1).to(dtype) @ v
    mixed = mixed.view(batch, keys, groups, length, size).permute(0, 3, 1, 2, 4).reshape(batch, length, -1)
    return F.linear(mixed, weights[f"{at}.o_proj.weight"])


def swiglu(x: Tensor, weights: Weights, at: str) -> Tensor:
    """The gated feed-forward part of a block, [B, T, D] to [B, T, D], or to [B, T, K] in a narrow one."""
    x = x.to(weights[f"{at}.gate_proj.weight"].dtype)
    gate, up = F.linear(x, weights[f"{at}.gate_proj.weight"]), F.linear(x, weights[f"{at}.up_proj.weight"])
    return F.linear(F.silu(gate) * up, weights[f"{at}.down_proj.weight"])


@lru_cache(maxsize=8)
def rotary_table(spec: ModelSpec, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, E] of each position's angles; the angles are float32, as in ``transformers``.

    Functions are taken in float64 and rounded: libraries differ in the last digit, which rounding takes away.
    """
    pairs = torch.arange(0, spec.head_dim, 2, dtype=torch.float64) / spec.head_dim
    frequencies = 1.0 / (float(spec.rope_theta) ** pairs).float()
    angles = torch.outer(torch.arange(length).float(), frequencies).double()
    angles = torch.cat((angles, angles), -1)[:, None]
    return angles.cos().float().to(device), angles.sin().float().to(device)


@lru_cache(maxsize=8)
def causal_mask(length: int, groups: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Minus infinity where a query would see a later token, else 0: [G * T, T]."""
    return torch.full((length, length), -torch.inf).triu(1).repeat(groups, 1).to(device, dtype)


def _product(x: Tensor, weight: Tensor) -> Tensor:
    return F.linear(x.to(weight.dtype), weight)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def _norm(x: Tensor, weight: Tensor, spec: ModelSpec) -> Tensor:
    return F.rms_norm(x, (spec.hidden_size,), weight, float(spec.rms_norm_eps))


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
