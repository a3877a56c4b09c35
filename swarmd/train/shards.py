"""Token shards: runs of token ids as blobs, little-endian, at most 2^20 ids each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import BlobHash
from swarmd.protocols.spec import ShardSpec
from swarmd.protocols.specrules import TOKENS_PER_SHARD

Tokens: TypeAlias = NDArray[Any]
"""Unsigned whole numbers, one axis."""
DTYPES: dict[str, np.dtype[Any]] = {"u16": np.dtype("<u2"), "u32": np.dtype("<u4")}


def write_shards(pieces: Iterable[Tokens], dtype: str, put: Callable[[bytes], BlobHash]) -> tuple[ShardSpec, ...]:
    """Keep token ids, given in pieces of any length, as blobs. All but the last shard are full."""
    full = (piece.astype(DTYPES[dtype]) for piece in _equal_lengths(pieces, TOKENS_PER_SHARD))
    return tuple(ShardSpec(blob=put(piece.tobytes()), tokens=len(piece)) for piece in full)


def read_shard(raw: bytes, shard: ShardSpec, dtype: str, vocabulary: int) -> Tokens:
    """The ids of one shard. Raises ProtocolViolation for a wrong length or an id outside the vocabulary."""
    kind = DTYPES[dtype]
    if len(raw) != shard.tokens * kind.itemsize:
        raise ProtocolViolation(
            f"token shard {shard.blob} has {len(raw)} bytes; {shard.tokens} tokens of {dtype} were announced"
        )
    tokens: Tokens = np.frombuffer(raw, dtype=kind)
    if len(tokens) and int(tokens.max()) >= vocabulary:
        raise ProtocolViolation(
            f"token shard {shard.blob} has id {int(tokens.max())}; the model's vocabulary is {vocabulary}"
        )
    return tokens


def _equal_lengths(pieces: Iterable[Tokens], length: int) -> Iterator[Tokens]:
    waiting: list[Tokens] = []
    count = 0
    for piece in pieces:
        waiting.append(piece)
        count += len(piece)
        if count >= length:
            joined = np.concatenate(waiting)
            whole = count // length * length
            yield from (joined[at : at + length] for at in range(0, whole, length))
            waiting, count = [joined[whole:]], count - whole
    if count:
        yield np.concatenate(waiting)
