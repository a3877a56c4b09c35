"""Shared memory for tensors: an unnamed file that both processes map, cut into slots.

The file has no name in any folder, so nothing is left behind however either process ends. A slot has
one owner at a time: whoever fills it hands it over by message and gets it back by message.
"""

from __future__ import annotations

import mmap
import os
import queue
import tempfile
import threading
from collections.abc import Callable

from swarmd.compute.layout import SlotLayout


class SlotMemory:
    """The slots of a layout over the file behind ``handle``."""

    def __init__(self, handle: int, layout: SlotLayout) -> None:
        self.handle, self.layout = handle, layout
        self._map = mmap.mmap(handle, layout.total_bytes)
        self._view = memoryview(self._map)

    def slot(self, index: int, length: int) -> memoryview:
        """The first ``length`` bytes of a slot, writable."""
        layout = self.layout
        begin, end = layout.begin_of(index), layout.begin_of(index + 1)
        if not 0 <= index < layout.count or not 0 <= length <= end - begin:
            raise IndexError(f"slot {index} of {layout.count}, {length} of {end - begin} bytes")
        return self._view[begin : begin + length]

    def close(self) -> None:
        """Unmap, unless a reader still holds a view; the mapping then goes with the process."""
        try:
            self._view.release()
            self._map.close()
        except BufferError:
            pass  # a link's thread still holds a view; the pages go when it lets go


class SlotPool:
    """Which of some slots are free. Taking one waits until there is one."""

    def __init__(self, slots: range) -> None:
        self.slots = slots
        self._free: queue.SimpleQueue[int] = queue.SimpleQueue()
        for slot in slots:
            self._free.put(slot)

    def take(self, seconds: float | None) -> int:
        """A free slot, waiting for one. Raises queue.Empty when none comes free in time."""
        return self._free.get(timeout=seconds)

    def give(self, slot: int) -> None:
        """A slot is free again."""
        self._free.put(slot)


class SlotReturns:
    """Slots of one pool on their way back, some at a time: each message wakes a thread of the other process.

    So ``batch - 1`` slots may be missing from the pool for as long as no other is given back.
    """

    def __init__(self, send: Callable[[tuple[int, ...]], None], batch: int = 2) -> None:
        self._send, self._batch = send, batch
        self._waiting: list[int] = []
        self._lock = threading.Lock()

    def give(self, slot: int) -> None:
        """Give a slot back now, or with the next ones; from any thread."""
        with self._lock:
            self._waiting.append(slot)
            if len(self._waiting) < self._batch:
                return
            slots, self._waiting = tuple(self._waiting), []
        self._send(slots)


def unnamed_file(size: int) -> int:
    """A handle of a file of ``size`` zero bytes that has no name anywhere."""
    if hasattr(os, "memfd_create"):
        handle = os.memfd_create("swarmd", os.MFD_CLOEXEC)
    else:
        with tempfile.TemporaryFile() as file:
            handle = os.dup(file.fileno())
    os.ftruncate(handle, size)
    return handle
