"""The layers of a Llama-family decoder, as functions of their input and their weights.

B sequences, T tokens, D = hidden size, H query heads, K key-value heads, E = values per head, G = H / K.
RMSNorm: Zhang & Sennrich 2019. Rotary embedding: Su et al. 2021, in Hugging Face's half-split form, so the
weights open in ``transformers``. SwiGLU: Shazeer 2020. Grouped-query attention: Ainslie et al. 2023.

Attention is matrix products and a softmax over the whole T x T square. A fused kernel would need less memory,
but which one torch picks, and how it splits its sums, depends on more than shapes; these products do not.

A matrix product is computed in the type of its weights: float32, or bfloat16 (``swarmd.train.working``). Norms,
softmax, rotations and what goes from block to block are float32 either way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from swarmd.protocols.spec import ModelSpec

Weights = Mapping[str, Tensor]
Lift = Callable[[Tensor], Tensor]


class Positions(NamedTuple):
    """What attention knows of where tokens stand."""

    cos: Tensor
    """[T, 1, E]"""
    sin: Tensor
    """[T, 1, E]"""
    mask: Tensor
    """[G * T, T], in the type of products."""


def positions(spec: ModelSpec, length: int, device: torch.device, dtype: torch.dtype) -> Positions:
    """Of sequences of this length, with products in ``dtype``."""
    groups = spec.num_attention_heads // spec.num_key_value_heads
    return Positions(*_rotary_table(spec, length, device), _causal_mask(length, groups, device, dtype))


def as_it_is(x: Tensor) -> Tensor:
    """The ``Lift`` of a model of full rank."""
    return x


def block(x: Tensor, weights: Weights, at: str, spec: ModelSpec, positions: Positions, lift: Lift = as_it_is) -> Tensor:
    """One decoder block, [B, T, D] to [B, T, D]; its parameters' names begin with ``at``.

    A narrow one takes and gives coefficients [B, T, K], of which ``lift`` makes hidden states.
    """
    entered = norm(lift(x), weights[f"{at}.input_layernorm.weight"], spec)
    x = x + attention(entered, weights, f"{at}.self_attn", spec, positions)
    between = norm(lift(x), weights[f"{at}.post_attention_layernorm.weight"], spec)
    return x + swiglu(between, weights, f"{at}.mlp")


def attention(x: Tensor, weights: Weights, at: str, spec: ModelSpec, positions: Positions) -> Tensor:
    """Causal grouped-query attention, [B, T, D] to [B, T, D], or to [B, T, K] in a narrow block."""
    batch, length, _ = x.shape
    dtype = weights[f"{at}.q_proj.weight"].dtype
    x = x.to(dtype)
    heads, keys, size = spec.num_attention_heads, spec.num_key_value_heads, spec.head_dim
    groups = heads // keys
    cos, sin, mask = positions
    q = F.linear(x, weights[f"{at}.q_proj.weight"]).view(batch, length, heads, size)
    k = F.linear(x, weights[f"{at}.k_proj.weight"]).view(batch, length, keys, size)
    v = F.linear(x, weights[f"{at}.v_proj.weight"]).view(batch, length, keys, size)
    # The queries that share a key head lie one after another: one matrix product serves them all.
    q = _rotate(q, cos, sin).to(dtype).view(batch, length, keys, groups, size).permute(0, 2, 3, 1, 4)
    q = q.reshape(batch * keys, groups * length, size)
    k = _rotate(k, cos, sin).to(dtype).transpose(1, 2).reshape(batch * keys, length, size)
    v = v.transpose(1, 2).reshape(batch * keys, length, size)
    scores = torch.baddbmm(mask, q, k.transpose(1, 2), alpha=size**-0.5)
    mixed = torch.softmax(scores.float(), -1).to(dtype) @ v
    mixed = mixed.view(batch, keys, groups, length, size).permute(0, 3, 1, 2, 4).reshape(batch, length, -1)
    return F.linear(mixed, weights[f"{at}.o_proj.weight"])


def swiglu(x: Tensor, weights: Weights, at: str) -> Tensor:
    """The gated feed-forward part of a block, [B, T, D] to [B, T, D], or to [B, T, K] in a narrow one."""
    x = x.to(weights[f"{at}.gate_proj.weight"].dtype)
    gate, up = F.linear(x, weights[f"{at}.gate_proj.weight"]), F.linear(x, weights[f"{at}.up_proj.weight"])
    return F.linear(F.silu(gate) * up, weights[f"{at}.down_proj.weight"])


@lru_cache(maxsize=8)
def _rotary_table(spec: ModelSpec, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosines and sines [T, 1, E] of each position's angles; the angles are float32, as in ``transformers``.

    Functions are taken in float64 and rounded: libraries differ in the last digit, which rounding takes away.
    """
    pairs = torch.arange(0, spec.head_dim, 2, dtype=torch.float64) / spec.head_dim
    frequencies = 1.0 / (float(spec.rope_theta) ** pairs).float()
    angles = torch.outer(torch.arange(length).float(), frequencies).double()
    angles = torch.cat((angles, angles), -1)[:, None]
    return angles.cos().float().to(device), angles.sin().float().to(device)


@lru_cache(maxsize=8)
def _causal_mask(length: int, groups: int, device: torch.device, dtype: torch.dtype) -> Tensor:
    """Minus infinity where a query would see a later token, else 0: [G * T, T]."""
    return torch.full((length, length), -torch.inf).triu(1).repeat(groups, 1).to(device, dtype)


def product(x: Tensor, weight: Tensor) -> Tensor:
    """x @ weight.T in the weight's type."""
    return F.linear(x.to(weight.dtype), weight)


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    left, right = x.chunk(2, -1)
    return x * cos + torch.cat((-right, left), -1) * sin


def norm(x: Tensor, weight: Tensor, spec: ModelSpec) -> Tensor:
    """RMSNorm over hidden states."""
    return F.rms_norm(x, (spec.hidden_size,), weight, float(spec.rms_norm_eps))
