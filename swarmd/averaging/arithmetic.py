"""The averaging itself: weighted sums in float64, in the order of the members' places.

Whoever sums a slice, and whichever member was slow, the same contributors give the same bits: every
contribution counts as it travels, the summing member's own one too.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from blake3 import blake3

from swarmd.averaging.codecs import Bytes, Codec, Floats

STRIDE = 1 << 16
"""Values summed at a time: a multiple of every codec's block, and small enough for the cache."""


@dataclass(frozen=True, slots=True)
class Mean:
    """A slice's average."""

    contributors: tuple[int, ...]
    raw: Bytes
    """As it travels."""
    digest: bytes


def mean_of(codec: Codec, parts: Mapping[int, Bytes], weights: Mapping[int, int], out: Floats) -> Mean:
    """The average over those parts, by place, whose values are all finite, in ``out``.

    No contributors if there are none such.
    """
    finite = dict(sorted(parts.items()))
    _mean(codec, finite, weights, out)
    # A value that is not finite makes a sum that is not: only then each part is looked at.
    if not all_finite(out):
        finite = {place: part for place, part in finite.items() if all_finite(codec.decode(part, len(out)))}
        _mean(codec, finite, weights, out)
    raw = codec.encode(out)
    read = codec.decode(raw, len(out))
    if not np.may_share_memory(read, out):
        out[:] = read
    return Mean(tuple(finite), raw, digest_of(raw))


def digest_of(raw: Bytes) -> bytes:
    """The hash by which members compare results."""
    return blake3(raw.data).digest()


def all_finite(values: Floats) -> bool:
    """Whether no value is infinite or not a number."""
    with np.errstate(over="ignore", invalid="ignore"):
        # One pass without a copy; finite values may add up to infinity, so only then each one is looked at.
        return bool(np.isfinite(np.add.reduce(values))) or bool(np.isfinite(values).all())


def _mean(codec: Codec, parts: Mapping[int, Bytes], weights: Mapping[int, int], out: Floats) -> None:
    count = len(out)
    whole = float(sum(weights[place] for place in parts)) or 1.0
    total = np.empty(min(STRIDE, count))
    for first in range(0, count, STRIDE):
        size = min(STRIDE, count - first)
        sums = total[:size]
        sums.fill(0.0)
        for place, part in parts.items():
            values = codec.decode(part[codec.size(first) : codec.size(first + size)], size)
            with np.errstate(invalid="ignore"):
                sums += values if weights[place] == 1 else values.astype(np.float64) * weights[place]
        np.divide(sums, whole, out=sums)
        out[first : first + size] = sums
