"""Shared memory for tests, gone with the block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory, unnamed_file


class Even(SlotLayout):
    """Slots of one size."""

    def __init__(self, size: int, count: int) -> None:
        super().__init__(size)
        object.__setattr__(self, "slots", count)

    @property
    def count(self) -> int:
        return int(self.slots)

    def begin_of(self, slot: int) -> int:
        return slot * self.slot_bytes


@contextmanager
def slots(count: int, size: int) -> Iterator[SlotMemory]:
    """So many slots of that size."""
    layout = Even(size, count)
    handle = unnamed_file(layout.total_bytes)
    memory = SlotMemory(handle, layout)
    try:
        yield memory
    finally:
        memory.close()
        os.close(handle)
