"""Frames on their way out of a compute process: from a tensor to a slot of shared memory, hashed, and a header."""

from __future__ import annotations

import queue
from dataclasses import dataclass

from torch import Tensor

from swarmd.compute.channel import Channel
from swarmd.compute.memory import SlotMemory, SlotPool
from swarmd.compute.messages import Load, Outgoing
from swarmd.protocols.boundary import boundary_shape, frame_codec
from swarmd.protocols.errors import TimedOut
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey, tile_root
from swarmd.train.staging import Leaving

SEND_PATIENCE_SECONDS = 120.0


@dataclass(frozen=True, slots=True)
class Frame:
    """A boundary tensor of a stage, and which it is."""

    load: Load
    spec: JobSpec
    direction: Direction
    step: int
    index: int
    weight_version: int
    leaving: Leaving


class Sender:
    """Writes frames into free slots, and has the daemon send them."""

    def __init__(self, channel: Channel, memory: SlotMemory, slots: range) -> None:
        self._channel, self._memory = channel, memory
        self.free = SlotPool(slots)

    def send(self, frame: Frame) -> None:
        """Wait for the tensor and for a slot. Raises TimedOut when none comes free."""
        load, to_next = frame.load, frame.direction != Direction.BACKWARD
        tensor, slot = frame.leaving.arrive(), self._slot()
        view = self._memory.slot(slot, tensor.nbytes)
        view[:] = bytes_of(tensor)
        boundary = load.end if to_next else load.first
        key = FrameKey(load.run, load.term, frame.step, frame.index, boundary, int(frame.direction))
        shape, codec = boundary_shape(frame.spec), frame_codec(frame.spec, frame.direction)
        root = tile_root(view, shape, "float32", codec)
        header = FrameHeader(FRAME_VERSION, key, load.plan, frame.weight_version, codec, "float32", shape, root)
        self._channel.send(Outgoing(header, slot, to_next))

    def _slot(self) -> int:
        try:
            return self.free.take(SEND_PATIENCE_SECONDS)
        except queue.Empty:
            raise TimedOut(f"no frame could be sent for {SEND_PATIENCE_SECONDS:.0f} s") from None


def bytes_of(tensor: Tensor) -> memoryview:
    """A CPU tensor's bytes."""
    return tensor.detach().contiguous().numpy().data.cast("B")
