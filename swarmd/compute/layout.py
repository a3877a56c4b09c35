"""How the slots of a stage are shared out.

Frames from the stage before, frames from the stage after, and frames on their way out each have slots
of their own, so that no direction can starve another. So has each other replica of the stage, and what is on its way to
them: small slots, as a part is cut to their size.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.boundary import frame_bytes
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.specrules import MAX_REPLICAS
from swarmd.protocols.tensors import Direction

SLOTS_PER_POOL = 4
FRAME_POOLS = 3
SHARE_BYTES = 1 << 16
"""Of a slot for what replicas of a stage say to each other."""


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Slot numbers by use; a slot of ``slot_bytes`` holds one boundary tensor."""

    slot_bytes: int

    @property
    def from_previous(self) -> range:
        """Activations that arrive."""
        return _pool(0)

    @property
    def from_next(self) -> range:
        """Gradients that arrive."""
        return _pool(1)

    @property
    def outgoing(self) -> range:
        """Either, on its way out."""
        return _pool(2)

    @property
    def incoming(self) -> tuple[range, ...]:
        """All pools for what arrives."""
        others = (self.from_replica(number) for number in range(MAX_REPLICAS - 1))
        return (self.from_previous, self.from_next, *others)

    @property
    def to_replicas(self) -> range:
        """What is on its way to other replicas of the stage."""
        return _pool(FRAME_POOLS)

    def from_replica(self, number: int) -> range:
        """What arrives from one of the others, which are numbered from 0."""
        if not 0 <= number < MAX_REPLICAS - 1:
            raise ValueError(f"a stage has at most {MAX_REPLICAS} replicas")
        return _pool(FRAME_POOLS + 1 + number)

    @property
    def pools(self) -> range:
        """The pools, which ``pool_of`` gives."""
        return range(FRAME_POOLS + MAX_REPLICAS)

    def pool_of(self, slot: int) -> int:
        """Which pool a slot is of."""
        return slot // SLOTS_PER_POOL

    @property
    def count(self) -> int:
        """All slots."""
        return len(self.pools) * SLOTS_PER_POOL

    @property
    def frame_bytes(self) -> int:
        """Of the slots for boundary tensors: a stage of one peer uses no others."""
        return self.begin_of(FRAME_POOLS * SLOTS_PER_POOL)

    @property
    def total_bytes(self) -> int:
        """Of all slots."""
        return self.begin_of(self.count)

    def begin_of(self, slot: int) -> int:
        """Where a slot's bytes begin."""
        frames = min(slot, FRAME_POOLS * SLOTS_PER_POOL)
        return frames * self.slot_bytes + (slot - frames) * SHARE_BYTES


def _pool(number: int) -> range:
    return range(number * SLOTS_PER_POOL, (number + 1) * SLOTS_PER_POOL)


def layout_of(spec: JobSpec) -> SlotLayout:
    """The layout for a run: a slot holds the tensor of any direction."""
    return SlotLayout(max(frame_bytes(spec, direction) for direction in (Direction.FORWARD, Direction.BACKWARD)))
