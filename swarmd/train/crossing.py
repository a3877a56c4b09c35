"""What crosses a stage's boundaries: as the stage computes with it, and as it is on the wire.

Forward, a token's row is its hidden state in the wire's codec; in a model in subspace form its coefficients, and
after them its id, little-endian. Backward it is the gradient of that hidden state, or of those coefficients.
"""

from __future__ import annotations

import torch
from torch import Tensor

from swarmd.protocols.boundary import boundary_shape, frame_codec
from swarmd.protocols.codecs import ID_BYTES
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.tensors import Direction
from swarmd.train.codecs import decode, encode, wire_dtype, wire_shape
from swarmd.train.staging import staging_of


class Crossing:
    """Turns boundary tensors of one run into what is sent, and back on a device.

    What is sent stays on the device, encoded: ``staging`` takes the fewer bytes to the CPU.
    """

    def __init__(self, spec: JobSpec, device: torch.device) -> None:
        self._wire, self._vocabulary = spec.wire, spec.model.vocab_size
        self.staging = staging_of(device)
        self._shape = boundary_shape(spec)
        self._there, self._back = (frame_codec(spec, way) for way in (Direction.FORWARD, Direction.BACKWARD))
        self._id_bytes = ID_BYTES[spec.data.dtype] if spec.model.subspace else 0

    def forth(self, x: Tensor, ids: Tensor | None) -> Tensor:
        """Encoded where it was computed. ``ids`` [B, T] are left out where none travel."""
        rows = encode(self._wire.forward, x)
        if self._id_bytes and ids is not None:
            rows = torch.cat((rows.contiguous().view(torch.uint8), _octets(ids)[..., : self._id_bytes]), -1)
        return self._done(rows)

    def back(self, gradient: Tensor) -> Tensor:
        """A gradient, likewise."""
        return self._done(encode(self._wire.backward, gradient))

    def came_forth(self, x: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """What the stage before sent: float32 [B, T, W] and, in a subspace, token ids [B, T] int64.

        Both are copies in torch's own memory: what arrives may lie anywhere, and alignment changes bits.
        Raises ProtocolViolation for another shape or type, numbers that no sender makes, or ids of no token.
        """
        rows = self._checked(self._there, x)
        if not self._id_bytes:
            return decode(self._wire.forward, rows, self._shape[-1]), None
        numbers, ids = rows[..., : -self._id_bytes].contiguous(), self._ids(rows[..., -self._id_bytes :])
        dtype = wire_dtype(self._wire.forward)
        return decode(self._wire.forward, numbers.view(dtype), self._shape[-1]), ids

    def came_back(self, gradient: Tensor | None) -> Tensor:
        """The gradient that the stage after sent, likewise."""
        return decode(self._wire.backward, self._checked(self._back, gradient), self._shape[-1])

    def _checked(self, codec: str, x: Tensor | None) -> Tensor:
        shape, dtype = wire_shape(codec, self._shape), wire_dtype(codec)
        if x is None or tuple(x.shape) != shape or x.dtype != dtype:
            raise ProtocolViolation(f"a boundary tensor is {dtype} of shape {shape}")
        return self.staging.bring(x)

    def _done(self, rows: Tensor) -> Tensor:
        self.staging.computed()
        return rows.contiguous()

    def _ids(self, octets: Tensor) -> Tensor:
        wide = torch.zeros((*octets.shape[:-1], 8), dtype=torch.uint8, device=octets.device)
        wide[..., : self._id_bytes] = octets
        ids = wide.view(torch.int64)[..., 0].contiguous()
        if (largest := int(ids.max())) >= self._vocabulary:
            raise ProtocolViolation(f"token id {largest} in a vocabulary of {self._vocabulary}")
        return ids


def _octets(ids: Tensor) -> Tensor:
    """int64 [B, T] as little-endian bytes, [B, T, 8]."""
    return ids.contiguous()[..., None].view(torch.uint8)
