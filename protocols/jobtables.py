"""A job file as one frozen value: what the user asked for, with defaults filled in, paths not yet read.

Resolving it into a ``JobSpec`` reads text, tokenizer and checkpoint; that is done elsewhere.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.budget import Budget
from swarmd.protocols.codecs import RAW, WIRES
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import (
    AveragingSpec,
    ModelSpec,
    NumericsSpec,
    OptimizerSpec,
    ScheduleSpec,
    WireSpec,
)
from swarmd.protocols.wirerules import usual_boundaries


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTable:
    """``[model]``: sizes, or a checkpoint whose own sizes count (the ones here are then unused)."""

    checkpoint: str | None
    """A Hugging Face folder, relative to the job file; None: start from seeded weights."""
    vocab: int | None
    """None: the tokenizer's."""
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    feed_forward: int
    context: int
    norm_eps: str
    rope_theta: str
    init_std: str
    subspace: int

    def resolved(self, vocabulary: int, weights: BlobHash | None = None) -> ModelSpec:
        """The model, where the tokenizer needs this vocabulary and the file asks for no other."""
        return ModelSpec(
            vocab_size=vocabulary if self.vocab is None else self.vocab,
            hidden_size=self.hidden,
            intermediate_size=self.feed_forward,
            num_hidden_layers=self.layers,
            num_attention_heads=self.heads,
            num_key_value_heads=self.kv_heads,
            max_position_embeddings=self.context,
            rms_norm_eps=self.norm_eps,
            rope_theta=self.rope_theta,
            initializer_range=self.init_std,
            weights=weights,
            subspace=self.subspace,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenizerTable:
    """``[tokenizer]``."""

    kind: str
    """``bytes``, ``file``, or ``checkpoint``: the tokenizer.json beside the checkpoint."""
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataTable:
    """``[data]``: exactly one of the three sources."""

    text: tuple[str, ...] = ()
    jsonl: tuple[str, ...] = ()
    field: str = "text"
    embedded: bool = False


AUTO = "auto"


@dataclass(frozen=True, slots=True, kw_only=True)
class WireTable:
    """``[wire]``: a codec by its name in ``WIRES``, or ``auto``."""

    codec: str
    boundaries: tuple[int, ...] | None = None
    """None: the usual ones, for a codec that has any."""

    def resolved(self, layers: int, chosen: str = RAW) -> WireSpec:
        """The wire for a model of so many layers; ``chosen`` is what ``auto`` stands for."""
        forward, backward = WIRES[chosen if self.codec == AUTO else self.codec]
        if forward == RAW and (self.boundaries is None or self.codec == AUTO):
            return WireSpec()
        boundaries = usual_boundaries(layers) if self.boundaries is None else self.boundaries
        return WireSpec(forward=forward, backward=backward, boundaries=boundaries)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTable:
    """``[run]``: how many stages are asked for, and what becomes of a run that loses a peer.

    Not part of the spec: it does not change the result.
    """

    min_stages: int
    max_stages: int | None
    """None: as many as the planner finds useful."""
    replicas: int = 1
    """The most peers that may share a stage."""
    restarts: int = 5
    spares: int = 1
    """Terms in a row without a new checkpoint after which the run fails; 0: the first lost peer ends it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFile:
    """A whole job file."""

    name: str
    seed: int
    model: ModelTable
    tokenizer: TokenizerTable
    data: DataTable
    batch: BatchTable
    optimizer: OptimizerSpec
    schedule: ScheduleSpec
    """With the evaluation windows of the smallest micro-batch, where its size is left open."""
    numerics: NumericsSpec
    wire: WireTable
    averaging: AveragingSpec
    run: RunTable
    budget: Budget
