"""A replica's part of a step: the sum of the gradients that it counted, in slices as small as a slot of shared memory.

What arrives is added slice by slice, in order, so a part takes no memory of its own at the receiver. The part of a
replica that counted nothing is one slice of a single zero, so that each part has an end.
"""

from __future__ import annotations

from collections.abc import Iterator, Set

from swarmd.protocols.errors import ProtocolViolation
from swarmd.train.sums import VALUE_BYTES, ExactSums


def part_slices(sums: ExactSums, micro_batches: Set[int], most: int) -> Iterator[bytes]:
    """What ``sums`` holds of these micro-batches, in order, in slices of at most ``most`` bytes.

    To be read before their step is committed.
    """
    count, size = most // VALUE_BYTES, _values(sums, micro_batches)
    for begin in range(0, size, count):
        yield sums.part(begin, min(begin + count, size))


class PartIn:
    """Another replica's part as it arrives, of the micro-batches that it told of."""

    def __init__(self, micro_batches: Set[int], sums: ExactSums) -> None:
        self.micro_batches = frozenset(micro_batches)
        self._sums = sums
        self._at = 0

    @property
    def whole(self) -> bool:
        """Whether the last value is in."""
        return self._at == _values(self._sums, self.micro_batches)

    def add(self, values: bytes | bytearray | memoryview) -> None:
        """The next slice. Raises ProtocolViolation for one that no honest replica sends."""
        left = _values(self._sums, self.micro_batches) - self._at
        if not 0 < len(values) <= left * VALUE_BYTES:
            raise ProtocolViolation(f"a slice of {len(values)} bytes, where {left} values are left of the part")
        self._sums.merge(self._at, values, self.micro_batches)
        self._at += len(values) // VALUE_BYTES


def _values(sums: ExactSums, micro_batches: Set[int]) -> int:
    return sums.size if micro_batches else 1
