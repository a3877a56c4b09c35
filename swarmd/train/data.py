"""The tokens of a run, as the arrays a model trains on.

Shards are read when a window needs them, checked, and the last few are kept; a run with more text than
memory reads shards again.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterator
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from swarmd.protocols.dataorder import DataOrder
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import JobSpec, ShardSpec
from swarmd.train.shards import DTYPES, Tokens, read_shard

SHARDS_KEPT = 64
Batch = tuple[NDArray[np.int64], NDArray[np.int64]]


class TokenStream:
    """One long run of token ids, stored in shards."""

    def __init__(
        self, shards: tuple[ShardSpec, ...], dtype: str, vocabulary: int, read: Callable[[BlobHash], bytes]
    ) -> None:
        self._shards = shards
        self._dtype = dtype
        self._vocabulary = vocabulary
        self._read = read
        self._ends = list(accumulate(shard.tokens for shard in shards))
        self._kept: OrderedDict[int, Tokens] = OrderedDict()

    def __len__(self) -> int:
        return self._ends[-1] if self._ends else 0

    def pieces(self) -> Iterator[Tokens]:
        """The ids in order, shard by shard."""
        return (self._shard(number) for number in range(len(self._shards)))

    def span(self, start: int, end: int) -> Tokens:
        """Ids start..end-1. Raises IndexError outside the stream, ProtocolViolation for a bad shard."""
        if not 0 <= start <= end <= len(self):
            raise IndexError(f"tokens {start}..{end} of {len(self)}")
        parts: list[Tokens] = [np.empty(0, DTYPES[self._dtype])]
        for number in range(bisect_right(self._ends, start), len(self._shards)):
            begin = self._ends[number] - self._shards[number].tokens
            if begin >= end:
                break
            parts.append(self._shard(number)[max(0, start - begin) : end - begin])
        return np.concatenate(parts)

    def _shard(self, number: int) -> Tokens:
        if number not in self._kept:
            shard = self._shards[number]
            self._kept[number] = read_shard(self._read(shard.blob), shard, self._dtype, self._vocabulary)
            if len(self._kept) > SHARDS_KEPT:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number]


class TokenData:
    """Micro-batches and evaluation batches of a run.

    ``read`` gives the bytes of a blob by its hash, already checked against it; only blobs that a batch needs
    are read. Arrays are int64, C-contiguous, of shape [micro_batch_size, sequence_length].
    """

    def __init__(self, spec: JobSpec, read: Callable[[BlobHash], bytes]) -> None:
        self._length = spec.batch.sequence_length
        self._order = DataOrder.of(spec)
        self._steps = spec.schedule.steps
        vocabulary, data = spec.model.vocab_size, spec.data
        self.train = TokenStream(data.train, data.dtype, vocabulary, read)
        self.held_out = TokenStream(data.held_out, data.dtype, vocabulary, read)

    @property
    def eval_batches(self) -> int:
        """How many batches one evaluation reads."""
        return self._order.eval_windows // self._order.micro_batch_size

    def micro_batch(self, step: int, index: int) -> Batch:
        """Inputs and targets of micro-batch ``index`` (from 0) of step ``step`` (from 1).

        Raises:
            ValueError: the run has no such micro-batch.
            ProtocolViolation: a shard is not what the spec says.
        """
        if step > self._steps:
            raise ValueError(f"the run has {self._steps} steps; there is no step {step}")
        return self._batch(self.train, self._order.train(step, index))

    def eval_batch(self, index: int) -> Batch:
        """Inputs and targets of evaluation batch ``index`` (from 0). Raises as ``micro_batch`` does."""
        return self._batch(self.held_out, self._order.evaluation(index))

    def _batch(self, stream: TokenStream, chosen: tuple[int, ...]) -> Batch:
        length = self._length
        rows = [stream.span(window * length, window * length + length + 1) for window in chosen]
        tokens = np.stack(rows).astype(np.int64)
        return np.ascontiguousarray(tokens[:, :-1]), np.ascontiguousarray(tokens[:, 1:])
