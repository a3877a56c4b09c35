"""A replica's part of a step: which micro-batches it counted, their losses, and the sum of their gradients.

The sum travels in slices, which may be as small as a slot of shared memory. What arrives is added slice by slice, in
order, so a part takes no memory of its own at the receiver.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from swarmd.protocols.errors import ProtocolViolation
from swarmd.train.sums import VALUE_BYTES, ExactSums

LARGEST_LOSS = 3.5e38
"""A loss is a float32, so no sum of a step's losses overflows a float64."""


@dataclass(frozen=True, slots=True)
class PartHead:
    """What a part is of."""

    micro_batches: tuple[int, ...]
    """Rising."""
    losses: tuple[float, ...]
    """One for each, in nats as a share of the step's mean; none but at the last stage."""

    def __post_init__(self) -> None:
        """Raises ProtocolViolation for a head that no honest replica sends."""
        if list(self.micro_batches) != sorted(set(self.micro_batches)):
            raise ProtocolViolation("the micro-batches of a part rise")
        if not all(abs(loss) <= LARGEST_LOSS for loss in self.losses):  # also true of a NaN
            raise ProtocolViolation("a part has a loss that is not finite")

    def check(self, *, last: bool) -> None:
        """Raises ProtocolViolation unless there are as many losses as the stage has."""
        if len(self.losses) != (len(self.micro_batches) if last else 0):
            raise ProtocolViolation(f"a part of {len(self.micro_batches)} micro-batches with {len(self.losses)} losses")


class PartOut:
    """A replica's own part, which is final; to be read before its step is committed."""

    def __init__(self, head: PartHead, sums: ExactSums) -> None:
        self.head = head
        self._sums = sums

    def slices(self, most: int) -> Iterator[bytes]:
        """The sum, in order, in slices of at most ``most`` bytes; none for a part of nothing."""
        count = most // VALUE_BYTES
        for begin in range(0, self._sums.size if self.head.micro_batches else 0, count):
            yield self._sums.part(begin, min(begin + count, self._sums.size))


class PartIn:
    """Another replica's part as it arrives."""

    def __init__(self, head: PartHead, sums: ExactSums) -> None:
        self.head = head
        self._sums = sums
        self._micro_batches = frozenset(head.micro_batches)
        self._at = 0

    @property
    def whole(self) -> bool:
        """Whether the last value is in."""
        return self._at == (self._sums.size if self._micro_batches else 0)

    def add(self, values: bytes | bytearray | memoryview) -> None:
        """The next slice. Raises ProtocolViolation for one that no honest replica sends."""
        if not values or self.whole:
            raise ProtocolViolation("a slice of no values, or one too many")
        self._sums.merge(self._at, values, self._micro_batches)
        self._at += len(values) // VALUE_BYTES
