"""Where an incoming link puts tensors, and plain memory as one such place."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Protocol, TypeVar

from swarmd.protocols.tensors import Ack, FrameHeader


class Slot(Protocol):
    """Room for one payload."""

    @property
    def view(self) -> memoryview:
        """Exactly the payload's bytes."""
        ...


S = TypeVar("S", bound=Slot)


class FrameSink(Protocol[S]):
    """What the owner of an incoming link does with what comes."""

    def allocate(self, header: FrameHeader) -> S | None:
        """Room for this tensor; None to skip it. Runs in the link's thread; to block is backpressure.

        Raises:
            ProtocolViolation: no honest peer sends this header now; ends the link.
        """
        ...

    def discard(self, slot: S) -> None:
        """The tensor did not come whole, or not with its root. Runs in the link's thread."""
        ...

    def frame(self, header: FrameHeader, slot: S) -> None:
        """A checked tensor. Runs in the trio thread, or the link's if it is ``direct``."""
        ...

    def ack(self, ack: Ack) -> None:
        """The peer acknowledges a frame. Runs in the trio thread, or the link's if it is ``direct``."""
        ...

    def interrupt(self) -> None:
        """The link ends: a blocked ``allocate`` must return None at once. Runs in the trio thread."""
        ...


@dataclass(slots=True)
class HeapSlot:
    """Plain memory."""

    view: memoryview


class HeapSlots:
    """Plain memory for payloads, at most ``limit`` bytes at a time; blocks while there is none left."""

    def __init__(self, limit: int) -> None:
        """``limit`` in bytes."""
        self._limit, self._used = limit, 0
        self._interrupted = False
        self._changed = threading.Condition()

    def allocate(self, count: int) -> HeapSlot | None:
        """Wait for ``count`` free bytes; None when interrupted, or when they would never fit."""
        if count > self._limit:
            return None
        with self._changed:
            self._changed.wait_for(lambda: self._interrupted or self._used + count <= self._limit)
            if self._interrupted:
                return None
            self._used += count
        return HeapSlot(memoryview(bytearray(count)))

    def release(self, slot: HeapSlot) -> None:
        """Give a slot's bytes back; from any thread."""
        with self._changed:
            self._used -= len(slot.view)
            self._changed.notify_all()

    def interrupt(self) -> None:
        """Wake whoever waits, for good."""
        with self._changed:
            self._interrupted = True
            self._changed.notify_all()
