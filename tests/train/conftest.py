"""A run small enough for a test: three blocks, real shards, four micro-batches a step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from swarmd.blobs import BlobStore
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import (
    BatchSpec,
    DataSpec,
    JobSpec,
    ModelSpec,
    NumericsSpec,
    OptimizerSpec,
    ScheduleSpec,
    TokenizerSpec,
    WireSpec,
)
from swarmd.train.data import TokenData
from swarmd.train.shards import write_shards

TINY_MODEL = ModelSpec(
    vocab_size=256,
    hidden_size=32,
    intermediate_size=48,
    num_hidden_layers=3,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=64,
)


@dataclass(frozen=True)
class TinyRun:
    """A spec and all that it names."""

    spec: JobSpec
    blobs: BlobStore
    data: TokenData

    def changed(self, **fields: Any) -> TinyRun:
        """The same run with other parts of the spec."""
        spec = replace(self.spec, **fields)
        return TinyRun(spec, self.blobs, TokenData(spec, self.blobs.get))


def tiny_spec(data: DataSpec) -> JobSpec:
    return JobSpec(
        name="tiny",
        seed=7,
        model=TINY_MODEL,
        tokenizer=TokenizerSpec(kind="bytes"),
        data=data,
        optimizer=OptimizerSpec(warmup_steps=2),
        batch=BatchSpec(sequence_length=16, micro_batch_size=2, micro_batches=4),
        schedule=ScheduleSpec(steps=5, eval_every=2, eval_windows=4, checkpoint_every=5),
        numerics=NumericsSpec(),
        wire=WireSpec(),
    )


@pytest.fixture
def tiny_run(tmp_path: Path) -> TinyRun:
    blobs = BlobStore(tmp_path / "blobs")
    train, held_out = (_shards(seed, blobs.put) for seed in (1, 2))
    no_text = BlobHash("0" * 64)
    spec = tiny_spec(DataSpec(source="manifest", dtype="u16", train=train, held_out=held_out, text_hash=no_text))
    return TinyRun(spec, blobs, TokenData(spec, blobs.get))


def _shards(seed: int, put: Callable[[bytes], BlobHash]) -> Any:
    return write_shards([np.random.default_rng(seed).integers(0, 64, 2000)], "u16", put)
