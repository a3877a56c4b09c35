"""Initial weights from a counter-based integer generator, the same bits on every machine.

Value ``i`` of a parameter is made of the four 16-bit integers at byte ``8 i`` of BLAKE3's extended output
over the parameter's name, keyed by the spec id. Their sum is near-normal (Irwin-Hall, four terms); less its
mean it is an integer below 2^18, which float32 holds exactly; one multiplication gives it its deviation.
Norm weights are ones. Narrow matrices have a larger deviation, so that what they add to the residual stream is as
long as at full rank.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from blake3 import blake3

from swarmd.protocols.spec import JobSpec
from swarmd.train.units import RESIDUAL_OUTPUTS, narrow_names, unit_shapes

Floats = npt.NDArray[np.float32]

BYTES_PER_VALUE = 8
CHUNK_VALUES = 1 << 20
_SUM_MEAN = 4 * 65535 // 2
_SUM_DEVIATION = math.sqrt(4 * (65536**2 - 1) / 12)


def seeded_weights(spec: JobSpec, unit: str) -> dict[str, Floats]:
    """A unit's initial weights by Hugging Face name, float32, in name order."""
    narrow = narrow_names(spec.model, unit)
    return {
        name: np.ones(shape, np.float32)
        if len(shape) == 1
        else seeded_normals(spec, name, shape, _deviation(spec, name, name in narrow))
        for name, shape in unit_shapes(spec.model, unit).items()
    }


def seeded_normals(spec: JobSpec, name: str, shape: tuple[int, ...], deviation: float) -> Floats:
    """Near-normal numbers that follow from the spec id and a name alone, float32."""
    values = np.empty(math.prod(shape), np.float32)
    scale = np.float32(deviation / _SUM_DEVIATION)
    for start, sums in _centred_sums(bytes.fromhex(spec.spec_id), name, values.size):
        np.multiply(sums.astype(np.float32), scale, out=values[start : start + sums.size])
    return values.reshape(shape)


def _deviation(spec: JobSpec, name: str, narrow: bool) -> float:
    """Projections into the residual stream are smaller, so that it does not grow with depth (GPT-2, 2019)."""
    base = float(spec.model.initializer_range)
    if name.endswith(RESIDUAL_OUTPUTS):
        base /= math.sqrt(2 * spec.model.num_hidden_layers)
    return base * math.sqrt(spec.model.hidden_size / spec.model.subspace) if narrow else base


def _centred_sums(key: bytes, name: str, count: int) -> Iterator[tuple[int, npt.NDArray[np.int32]]]:
    generator = blake3(name.encode(), key=key)
    for start in range(0, count, CHUNK_VALUES):
        length = min(CHUNK_VALUES, count - start) * BYTES_PER_VALUE
        raw = np.frombuffer(generator.digest(length, seek=start * BYTES_PER_VALUE), "<u2")
        yield start, raw.reshape(-1, 4).sum(axis=1, dtype=np.int32) - np.int32(_SUM_MEAN)
