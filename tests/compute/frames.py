"""Shared memory for tests, gone with the block."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from swarmd.compute.memory import SlotMemory, unnamed_file


@contextmanager
def slots(count: int, size: int) -> Iterator[SlotMemory]:
    """So many slots of that size."""
    handle = unnamed_file(count * size)
    memory = SlotMemory(handle, count, size)
    try:
        yield memory
    finally:
        memory.close()
        os.close(handle)
