"""What the daemon tells a compute process: read in a thread of its own, sorted, and queued for the main thread."""

from __future__ import annotations

import queue
import threading
import time
from contextlib import suppress
from dataclasses import dataclass

import torch
from torch import Tensor

from swarmd.compute.channel import Channel
from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory, SlotReturns
from swarmd.compute.messages import Arrived, Kept, Sent, Taken
from swarmd.protocols.tensors import Direction, FrameHeader
from swarmd.train.sending import Sender, bytes_of
from swarmd.train.staging import Direct, Staging

CHECKPOINTS_AHEAD = 2
"""Written and not taken over yet: small stages make checkpoints faster than a disk deletes old ones."""


@dataclass(frozen=True, slots=True)
class Came:
    """A boundary tensor of a neighbour, out of its slot; ``at`` is its ``time.perf_counter()``."""

    header: FrameHeader
    tensor: Tensor
    sender: int
    at: float


@dataclass(frozen=True, slots=True)
class Reopened:
    """A slot to other replicas is free again."""

    slot: int


class Reader:
    """Boundary tensors leave their slots as they come; what other replicas say stays in its slot until it is used."""

    def __init__(self, channel: Channel, memory: SlotMemory, layout: SlotLayout, sender: Sender) -> None:
        self.inbox: queue.SimpleQueue[object] = queue.SimpleQueue()
        """For the main thread: ``Came``, ``Reopened``, the daemon's other messages, an error, or at the end None."""
        self.checkpoints = threading.Semaphore(CHECKPOINTS_AHEAD)
        """How many more may be written."""
        self.staging: Staging = Direct(torch.device("cpu"))
        self._channel, self._memory, self._layout, self._sender = channel, memory, layout, sender
        self._read = [SlotReturns(lambda slots: channel.send(Taken(slots))) for _ in layout.pools]

    def run(self) -> None:
        """Until the daemon's end closes."""
        try:
            with suppress(BrokenPipeError, ConnectionError):
                while (message := self._channel.receive()) is not None:
                    self._sort(message)
        finally:  # whatever ended it: nobody waits for the daemon any longer
            self.inbox.put(None)
            self.checkpoints.release()
            self._sender.end()

    def give_back(self, slot: int) -> None:
        """An incoming slot was read."""
        self._read[self._layout.pool_of(slot)].give(slot)

    def _sort(self, message: object) -> None:
        if isinstance(message, Sent):
            self._sent(message.slots)
        elif isinstance(message, Kept):
            self.checkpoints.release()
        elif isinstance(message, Arrived) and message.header.key.direction < Direction.COUNTED:
            self._take_out(message)
        else:
            self.inbox.put(message)

    def _sent(self, slots: tuple[int, ...]) -> None:
        for slot in slots:
            if not self._sender.freed(slot):
                self.inbox.put(Reopened(slot))

    def _take_out(self, message: Arrived) -> None:
        header = message.header
        try:
            tensor = self.staging.room(header.codec, header.shape)
            bytes_of(tensor)[:] = self._memory.slot(message.slot, header.payload_bytes)
            self.inbox.put(Came(header, tensor, message.sender, time.perf_counter()))
        except (RuntimeError, MemoryError) as error:  # for the main thread to tell
            self.inbox.put(error)
        self.give_back(message.slot)
