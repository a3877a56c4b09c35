"""From text and a tokenizer to the data of a spec: shards in the blob store, and enough of them."""

from __future__ import annotations

from math import ceil

from swarmd.blobs import BlobStore, blob_hash
from swarmd.protocols.dataorder import windows
from swarmd.protocols.errors import UsageError
from swarmd.protocols.jobtables import JobFile
from swarmd.protocols.spec import DataSpec
from swarmd.protocols.speccheck import dtype_for
from swarmd.train.holdout import bytes_needed, held_out_runs, training_runs
from swarmd.train.shards import write_shards
from swarmd.train.tokenizer import Tokenizer


def make_data(text: bytes, tokenizer: Tokenizer, vocabulary: int, blobs: BlobStore) -> DataSpec:
    """Tokenise both parts of a text and keep them as shards."""
    dtype = dtype_for(vocabulary)
    return DataSpec(
        source="manifest",
        dtype=dtype,
        train=write_shards(map(tokenizer.encode, training_runs(text)), dtype, blobs.put),
        held_out=write_shards(map(tokenizer.encode, held_out_runs(text)), dtype, blobs.put),
        text_hash=blob_hash(text),
    )


def check_enough(job: JobFile, data: DataSpec, text_bytes: int) -> None:
    """Raises UsageError unless the text has one step's training windows and all evaluation windows."""
    batch, length = job.batch.cut(), job.batch.sequence_length
    step = batch.micro_batch_size * batch.micro_batches
    enough_train = windows(data.train_tokens, length) >= step
    if enough_train and windows(data.held_out_tokens, length) >= job.schedule.eval_windows:
        return
    tokens = data.train_tokens + data.held_out_tokens
    each = text_bytes / max(1, tokens)
    train, held_out = step * length + 1, job.schedule.eval_windows * length + 1
    needed = bytes_needed(ceil(train * each), ceil(held_out * each))
    about = "" if tokens == text_bytes else "about "
    what = f"{job.schedule.eval_windows} evaluation windows" if enough_train else "one step"
    raise UsageError(
        f"the text has {text_bytes:,} bytes; {about}{needed:,} are needed for {what} of {length} tokens each",
        hint="add text under [data], or lower sequence_length, sequences, micro_batches or evaluation.windows",
    )
