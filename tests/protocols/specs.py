"""A small spec that breaks no rule."""

from __future__ import annotations

from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import (
    BatchSpec,
    DataSpec,
    JobSpec,
    ModelSpec,
    NumericsSpec,
    OptimizerSpec,
    ScheduleSpec,
    ShardSpec,
    TokenizerSpec,
    WireSpec,
)

BLOB = BlobHash("1" * 64)

SPEC = JobSpec(
    name="test",
    seed=0,
    model=ModelSpec(
        vocab_size=256,
        hidden_size=8,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        max_position_embeddings=16,
    ),
    tokenizer=TokenizerSpec(kind="bytes"),
    data=DataSpec(
        source="manifest",
        dtype="u16",
        train=(ShardSpec(blob=BLOB, tokens=161),),
        held_out=(ShardSpec(blob=BLOB, tokens=120),),
        text_hash=BLOB,
    ),
    optimizer=OptimizerSpec(warmup_steps=0),
    batch=BatchSpec(sequence_length=16, micro_batch_size=2, micro_batches=3),
    schedule=ScheduleSpec(steps=10, eval_every=5, eval_windows=4, checkpoint_every=5),
    numerics=NumericsSpec(),
    wire=WireSpec(),
)
