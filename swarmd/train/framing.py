"""The headers of the frames that a stage sends."""

from __future__ import annotations

from swarmd.compute.messages import Load
from swarmd.protocols.boundary import boundary_shape, frame_codec
from swarmd.protocols.codecs import ITEM_BYTES, RAW
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import FRAME_VERSION, Direction, FrameHeader, FrameKey, tile_root
from swarmd.train.outbox import Notice


class Framing:
    """Headers for one place of one plan."""

    def __init__(self, load: Load, spec: JobSpec) -> None:
        self.load, self.spec = load, spec

    def boundary(self, direction: Direction, step: int, index: int, version: int, payload: memoryview) -> FrameHeader:
        """For a boundary tensor, made with the weights of ``version``."""
        load = self.load
        boundary = load.first if direction == Direction.BACKWARD else load.end
        key = FrameKey(load.run, load.term, step, index, boundary, int(direction))
        codec, shape = frame_codec(self.spec, direction), boundary_shape(self.spec)
        root = tile_root(payload, shape, "float32", codec)
        return FrameHeader(FRAME_VERSION, key, load.plan, version, codec, "float32", shape, root)

    def among_replicas(self, notice: Notice, payload: memoryview) -> FrameHeader:
        """For a frame to another replica of the stage."""
        load = self.load
        key = FrameKey(load.run, load.term, notice.step, notice.index, load.first, int(notice.direction))
        dtype = "uint8" if notice.direction == Direction.TOLD else "float64"
        shape = (len(payload) // ITEM_BYTES[dtype],)
        root = tile_root(payload, shape, dtype, RAW)
        return FrameHeader(FRAME_VERSION, key, load.plan, notice.step - 1, RAW, dtype, shape, root)
