"""Frames on their way out of a compute process: into a slot of shared memory, hashed, with a header."""

from __future__ import annotations

import queue
from collections import deque
from dataclasses import dataclass

from torch import Tensor

from swarmd.compute.channel import Channel
from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory, SlotPool
from swarmd.compute.messages import Outgoing
from swarmd.protocols.errors import TimedOut
from swarmd.protocols.tensors import Direction
from swarmd.train.framing import Framing
from swarmd.train.outbox import Notice
from swarmd.train.staging import Leaving

SEND_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Boundary:
    """A boundary tensor of a stage on its way to a place, and which it is."""

    to: int
    direction: Direction
    step: int
    index: int
    version: int
    leaving: Leaving


class Sender:
    """Writes frames into free slots, and has the daemon send them.

    ``reopened`` and ``notice`` are for one thread, the others for any.
    """

    def __init__(self, channel: Channel, memory: SlotMemory, layout: SlotLayout) -> None:
        self._channel, self._memory = channel, memory
        self._free, self._first = SlotPool(layout.outgoing), layout.outgoing[0]
        self._among_replicas, self._to_replicas = frozenset(layout.to_replicas), deque(layout.to_replicas)

    def freed(self, slot: int) -> bool:
        """A slot was sent; False for one to other replicas, which is for ``reopened``."""
        if slot in self._among_replicas:
            return False
        self._free.give(slot)
        return True

    def end(self) -> None:
        """The daemon is gone: whoever waits for a slot gets one, and finds so."""
        self._free.give(self._first)

    def reopened(self, slot: int) -> None:
        """There is room for another notice."""
        self._to_replicas.append(slot)

    def boundary(self, framing: Framing, frame: Boundary) -> None:
        """Wait for the tensor and for a slot. Raises TimedOut when none comes free."""
        tensor, slot = frame.leaving.arrive(), self._slot()
        view = self._memory.slot(slot, tensor.nbytes)
        view[:] = bytes_of(tensor)
        header = framing.boundary(frame.direction, frame.step, frame.index, frame.version, view)
        self._channel.send(Outgoing(header, slot, frame.to))

    def notice(self, framing: Framing, notice: Notice) -> bool:
        """Send a frame to another replica, if there is a slot for it."""
        if not self._to_replicas:
            return False
        slot = self._to_replicas.popleft()
        view = self._memory.slot(slot, len(notice.values))
        view[:] = notice.values
        self._channel.send(Outgoing(framing.among_replicas(notice, view), slot, notice.to))
        return True

    def _slot(self) -> int:
        try:
            return self._free.take(SEND_PATIENCE_SECONDS)
        except queue.Empty:
            raise TimedOut(f"no frame could be sent for {SEND_PATIENCE_SECONDS:.0f} s") from None


def bytes_of(tensor: Tensor) -> memoryview:
    """A CPU tensor's bytes, in place where it is contiguous."""
    return tensor.detach().contiguous().numpy().data.cast("B")
