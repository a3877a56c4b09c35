"""How the slots of a stage are shared out.

Frames from the stage before, frames from the stage after, and frames on their way out each have slots
of their own, so that no direction can starve another.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.boundary import frame_bytes
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction

SLOTS_PER_POOL = 4


@dataclass(frozen=True, slots=True)
class SlotLayout:
    """Slot numbers by use; ``slot_bytes`` holds one boundary tensor."""

    slot_bytes: int

    @property
    def from_previous(self) -> range:
        """Activations that arrive."""
        return range(0, SLOTS_PER_POOL)

    @property
    def from_next(self) -> range:
        """Gradients that arrive."""
        return range(SLOTS_PER_POOL, 2 * SLOTS_PER_POOL)

    @property
    def outgoing(self) -> range:
        """Either, on its way out."""
        return range(2 * SLOTS_PER_POOL, 3 * SLOTS_PER_POOL)

    @property
    def total_bytes(self) -> int:
        """Of all slots."""
        return self.count * self.slot_bytes

    @property
    def count(self) -> int:
        """All slots."""
        return 3 * SLOTS_PER_POOL


def layout_of(spec: JobSpec) -> SlotLayout:
    """The layout for a run: a slot holds the tensor of any direction."""
    return SlotLayout(max(frame_bytes(spec, direction) for direction in Direction))
