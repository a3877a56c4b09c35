"""The bigram table's loss, against one counted by hand."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from math import fsum, log

import numpy as np
import pytest

from swarmd.blobs import blob_hash
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import JobSpec, ShardSpec
from swarmd.train.bigram import bigram_loss
from swarmd.train.data import TokenData
from tests.protocols.specs import SPEC


def prepared(train: list[np.ndarray], held_out: np.ndarray, vocabulary: int) -> tuple[JobSpec, TokenData]:
    store: dict[BlobHash, bytes] = {}

    def shard(tokens: np.ndarray) -> ShardSpec:
        raw = tokens.astype("<u2").tobytes()
        store[blob_hash(raw)] = raw
        return ShardSpec(blob=blob_hash(raw), tokens=len(tokens))

    data = replace(SPEC.data, train=tuple(map(shard, train)), held_out=(shard(held_out),))
    spec = replace(SPEC, data=data, model=replace(SPEC.model, vocab_size=vocabulary))
    return spec, TokenData(spec, store.__getitem__)


@pytest.mark.parametrize("vocabulary", [256, 60_000])
def test_the_loss_is_that_of_a_table_counted_by_hand(vocabulary: int) -> None:
    draw = np.random.default_rng(3)
    train, held_out = draw.integers(0, 12, 400), draw.integers(0, 14, 120)
    spec, data = prepared([train[:100], train[100:101], train[101:]], held_out, vocabulary)
    pairs = Counter(zip(train[:-1].tolist(), train[1:].tolist(), strict=True))
    firsts = Counter(train[:-1].tolist())
    losses = [
        -log((pairs[a, b] + 1) / (firsts[a] + vocabulary))
        for index in range(data.eval_batches)
        for a, b in zip(*(side.reshape(-1).tolist() for side in data.eval_batch(index)), strict=True)
    ]
    assert bigram_loss(spec, data) == pytest.approx(fsum(losses) / len(losses), rel=1e-12)


def test_text_that_repeats_itself_is_foreseen() -> None:
    spec, data = prepared([np.tile([1, 2], 5000)], np.tile([1, 2], 60), 256)
    assert bigram_loss(spec, data) == pytest.approx(log(5256 / 5001), rel=1e-3)


def test_unseen_tokens_are_uniform() -> None:
    spec, data = prepared([np.zeros(161, int)], np.arange(1, 121), 256)
    assert bigram_loss(spec, data) == pytest.approx(log(256), rel=1e-12)
