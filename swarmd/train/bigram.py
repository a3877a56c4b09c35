"""How well a table of token pairs predicts the evaluation text: the mark a trained model must beat.

The table is counted on the training tokens, the first ``MAX_COUNTED`` of them, with one added to every
count: p(b | a) = (pairs a b + 1) / (pairs that begin with a + vocabulary). Only pairs that occur in the
evaluation windows are counted, so memory is bounded by those windows and the vocabulary, for any vocabulary.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from swarmd.protocols.spec import JobSpec
from swarmd.protocols.specrules import TOKENS_PER_SHARD
from swarmd.train.data import TokenData

MAX_COUNTED = 32 * TOKENS_PER_SHARD
Ids = NDArray[np.int64]


def bigram_loss(spec: JobSpec, data: TokenData) -> float:
    """Mean nats per target of the add-one bigram table over the run's evaluation windows."""
    vocabulary = spec.model.vocab_size
    before, after = _evaluation(data)
    asked, place = np.unique(before * vocabulary + after, return_inverse=True)
    pairs = np.zeros(len(asked), np.int64)
    firsts = np.zeros(vocabulary, np.int64)
    for left, right in _training(data):
        firsts += np.bincount(left, minlength=vocabulary)
        codes = left * vocabulary + right
        found = np.searchsorted(asked, codes).clip(max=len(asked) - 1)
        pairs += np.bincount(found[asked[found] == codes], minlength=len(asked))
    chance = (pairs[place.reshape(-1)] + 1) / (firsts[before] + vocabulary)
    return float(-np.log(chance).mean())


def _evaluation(data: TokenData) -> tuple[Ids, Ids]:
    batches = [data.eval_batch(index) for index in range(data.eval_batches)]
    before, after = (np.concatenate([batch[side].reshape(-1) for batch in batches]) for side in (0, 1))
    return before, after


def _training(data: TokenData) -> Iterator[tuple[Ids, Ids]]:
    last: Ids = np.empty(0, np.int64)
    for piece in islice(data.train.pieces(), MAX_COUNTED // TOKENS_PER_SHARD):
        tokens = np.concatenate([last, piece.astype(np.int64)])
        yield tokens[:-1], tokens[1:]
        last = tokens[-1:]
