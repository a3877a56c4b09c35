"""Shards and batches: what a stage reads is what the spec says, or is refused."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from swarmd.blobs import blob_hash
from swarmd.protocols.dataorder import micro_batch_windows
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import JobSpec, ShardSpec
from swarmd.train import data as data_module
from swarmd.train.data import TokenData, TokenStream
from swarmd.train.shards import Tokens, read_shard, write_shards
from tests.protocols.specs import SPEC


class Store(dict[BlobHash, bytes]):
    """Blobs in memory."""

    def put(self, raw: bytes) -> BlobHash:
        name = blob_hash(raw)
        self[name] = raw
        return name

    def shards(self, *runs: Tokens, dtype: str = "u16") -> tuple[ShardSpec, ...]:
        return tuple(
            ShardSpec(blob=self.put(run.astype("<u2" if dtype == "u16" else "<u4").tobytes()), tokens=len(run))
            for run in runs
        )


TRAIN = np.arange(161) % 256
HELD_OUT = np.arange(120)[::-1].copy()


def small(store: Store) -> JobSpec:
    train = store.shards(TRAIN[:50], TRAIN[50:51], TRAIN[51:])
    return replace(SPEC, data=replace(SPEC.data, train=train, held_out=store.shards(HELD_OUT)))


def test_a_micro_batch_is_its_windows_with_targets_shifted_by_one() -> None:
    store = Store()
    spec = small(store)
    data = TokenData(spec, store.__getitem__)
    for step in (1, 2, 10):
        inputs, targets = data.micro_batch(step, 2)
        for row, window in enumerate(micro_batch_windows(spec, step, 2)):
            assert inputs[row].tolist() == TRAIN[window * 16 : window * 16 + 16].tolist()
            assert targets[row].tolist() == TRAIN[window * 16 + 1 : window * 16 + 17].tolist()


def test_arrays_have_the_promised_form() -> None:
    store = Store()
    data = TokenData(small(store), store.__getitem__)
    for array in (*data.micro_batch(1, 0), *data.eval_batch(0)):
        assert (array.dtype, array.shape) == (np.dtype(np.int64), (2, 16))
        assert array.flags.c_contiguous
        assert array.flags.writeable


def test_evaluation_reads_held_out_tokens_only() -> None:
    store = Store()
    data = TokenData(small(store), store.__getitem__)
    assert data.eval_batches == 2
    inputs, targets = data.eval_batch(1)
    assert inputs[0].tolist() == HELD_OUT[48:64].tolist()
    assert targets[1].tolist() == HELD_OUT[81:97].tolist()


def test_only_the_shards_a_batch_needs_are_read() -> None:
    store = Store()
    spec = small(store)
    read: list[BlobHash] = []

    def reading(name: BlobHash) -> bytes:
        read.append(name)
        return store[name]

    data = TokenData(spec, reading)
    assert read == []
    data.eval_batch(0)
    data.eval_batch(1)
    assert read == [spec.data.held_out[0].blob]


@pytest.mark.parametrize(("step", "index"), [(0, 0), (11, 0), (1, 3), (1, -1)])
def test_there_is_no_such_micro_batch(step: int, index: int) -> None:
    store = Store()
    with pytest.raises(ValueError, match="step"):
        TokenData(small(store), store.__getitem__).micro_batch(step, index)


@pytest.mark.parametrize("ids", [[256], [0, 65535]])
def test_an_id_outside_the_vocabulary_is_the_peers_fault(ids: list[int]) -> None:
    store = Store()
    held_out = store.shards(np.concatenate([HELD_OUT, ids]))
    spec = replace(SPEC, data=replace(SPEC.data, held_out=held_out))
    with pytest.raises(ProtocolViolation, match="the model's vocabulary is 256"):
        TokenData(spec, store.__getitem__).eval_batch(0)


def test_a_shard_of_another_length_is_the_peers_fault() -> None:
    store = Store()
    (shard,) = store.shards(HELD_OUT)
    spec = replace(SPEC, data=replace(SPEC.data, held_out=(replace(shard, tokens=119),)))
    with pytest.raises(ProtocolViolation, match="240 bytes; 119 tokens of u16 were announced"):
        TokenData(spec, store.__getitem__).eval_batch(0)


def test_spans_cross_shards() -> None:
    store = Store()
    stream = TokenStream(store.shards(TRAIN[:7], TRAIN[7:8], TRAIN[8:]), "u16", 256, store.__getitem__)
    for start, end in [(0, 161), (6, 9), (7, 8), (8, 8), (161, 161), (0, 0), (5, 100)]:
        assert stream.span(start, end).tolist() == TRAIN[start:end].tolist()
    with pytest.raises(IndexError):
        stream.span(0, 162)


def test_few_shards_are_kept_in_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data_module, "SHARDS_KEPT", 2)
    store, count = Store(), [0]

    def reading(name: BlobHash) -> bytes:
        count[0] += 1
        return store[name]

    stream = TokenStream(store.shards(*np.split(TRAIN[:160], 4)), "u16", 256, reading)
    for start in (0, 0, 40, 0, 80, 0, 40):
        stream.span(start, start + 10)
    assert count[0] == 4


@pytest.mark.parametrize(("dtype", "first_two"), [("u16", "00000100"), ("u32", "0000000001000000")])
def test_shards_are_little_endian_and_full_but_the_last(dtype: str, first_two: str) -> None:
    store = Store()
    tokens = (np.arange((1 << 20) + 5) % 50_000).astype(np.uint32)
    shards = write_shards(iter([tokens[:3], tokens[3:900_000], tokens[900_000:]]), dtype, store.put)
    assert [shard.tokens for shard in shards] == [1 << 20, 5]
    assert store[shards[0].blob][: 4 if dtype == "u16" else 8].hex() == (
        "00000100" if dtype == "u16" else "0000000001000000"
    )
    whole = np.concatenate([read_shard(store[shard.blob], shard, dtype, 50_000) for shard in shards])
    assert (whole == tokens).all()


def test_many_small_pieces_and_one_large_one_give_the_same_shards() -> None:
    store = Store()
    tokens = np.arange(1000, dtype=np.uint16)
    assert write_shards(iter(np.split(tokens, 100)), "u16", store.put) == write_shards([tokens], "u16", store.put)
    assert write_shards([], "u16", store.put) == ()
