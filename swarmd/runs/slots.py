"""The slots of one compute process as the daemon sees them: free to receive into, or on their way back to it.

They outlive plans. When a plan ends its links give back every slot they hold, and the next plan's links go on with
the same pools.
"""

from __future__ import annotations

import queue
from contextlib import suppress
from dataclasses import dataclass

from swarmd.compute.layout import SLOTS_PER_POOL, SlotLayout
from swarmd.compute.memory import SlotPool, SlotReturns
from swarmd.compute.messages import Sent
from swarmd.compute.process import Compute

CLOSED = -1
"""Not a slot: wakes a link that waits for one when the plan ends."""


@dataclass(frozen=True, slots=True)
class HeldSlot:
    """A slot of the compute process's memory that a frame is being read into."""

    index: int
    view: memoryview


class IncomingSlots:
    """The free slots for frames of one kind. ``take`` and ``give`` are for any thread."""

    def __init__(self, slots: range) -> None:
        self._pool = SlotPool(slots)

    def take(self) -> int | None:
        """A free slot; waits for one. None when the plan has ended."""
        index = self._pool.take(None)
        if index == CLOSED:
            self._pool.give(CLOSED)  # for the next one that waits
            return None
        return index

    def give(self, index: int) -> None:
        """A slot is free again."""
        self._pool.give(index)

    def close(self) -> None:
        """Nobody gets a slot any more, and who waits for one is woken."""
        self._pool.give(CLOSED)

    def reopen(self) -> None:
        """Another plan begins; no link of the one before is left."""
        free: list[int] = []
        with suppress(queue.Empty):
            while True:
                free.append(self._pool.take(0))
        for index in free:
            if index != CLOSED:
                self._pool.give(index)


class StageSlots:
    """All slots of one compute process."""

    def __init__(self, compute: Compute, layout: SlotLayout) -> None:
        self._incoming = {pool[0]: IncomingSlots(pool) for pool in layout.incoming}
        self._sent = SlotReturns(lambda slots: compute.send(Sent(slots)))

    def of(self, slots: range) -> IncomingSlots:
        """The pool of these slots."""
        return self._incoming[slots[0]]

    def taken(self, slots: tuple[int, ...]) -> None:
        """The compute process has read some slots; from any thread."""
        for slot in slots:
            self._incoming[slot // SLOTS_PER_POOL * SLOTS_PER_POOL].give(slot)

    def sent(self, slot: int) -> None:
        """A frame has left its slot, or never will; from any thread."""
        self._sent.give(slot)

    def reopen(self) -> None:
        """Another plan begins; no link of the one before is left."""
        for pool in self._incoming.values():
            pool.reopen()
