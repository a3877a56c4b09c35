"""The way of boundary tensors between the CPU's memory and a device.

On CUDA they are copied by streams of their own, one each way, out of and into pinned memory, while the device computes
on; torch keeps pinned memory that is freed for the next frame. Elsewhere a copy is done when it is asked for, and on a
CPU there is nothing to copy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from swarmd.train.codecs import wire_dtype, wire_empty, wire_shape


@dataclass(frozen=True, slots=True)
class Leaving:
    """A tensor on its way to the CPU."""

    _tensor: Tensor
    _copied: torch.cuda.Event | None = None

    def arrive(self) -> Tensor:
        """It, on the CPU; waits for the copy."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._tensor


class Staging(Protocol):
    """Both ways of one device."""

    overlaps: bool
    """Whether copies go on while the device computes: then somebody else should wait for them."""

    def room(self, codec: str, shape: tuple[int, ...]) -> Tensor:
        """Memory on the CPU for a frame that arrives."""
        ...

    def bring(self, x: Tensor) -> Tensor:
        """A tensor as the device's next operations may use it."""
        ...

    def take(self, x: Tensor) -> Leaving:
        """Begin to copy what the device's operations so far make."""
        ...

    def computed(self) -> None:
        """Wait for the device's operations so far, so that times are those of computing."""
        ...


class Direct:
    """Copies are done when they are asked for (``Staging``)."""

    overlaps = False

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def room(self, codec: str, shape: tuple[int, ...]) -> Tensor:
        """Memory on the CPU for a frame that arrives."""
        return wire_empty(codec, shape)

    def bring(self, x: Tensor) -> Tensor:
        """A tensor on the device; the same memory if it is there."""
        return x.detach().to(self._device)

    def take(self, x: Tensor) -> Leaving:
        """A tensor on the CPU; the same memory if it is there and contiguous."""
        return Leaving(x.cpu().contiguous())

    def computed(self) -> None:
        """A CPU has done what it was asked for."""


class Streamed:
    """Copies go on while a CUDA device computes (``Staging``)."""

    overlaps = True

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._in, self._out = _stream(device), _stream(device)

    def room(self, codec: str, shape: tuple[int, ...]) -> Tensor:
        """Pinned memory for a frame that arrives."""
        return torch.empty(wire_shape(codec, shape), dtype=wire_dtype(codec), pin_memory=True)

    def bring(self, x: Tensor) -> Tensor:
        """A tensor on the device, where the operations that come wait for the copy."""
        with torch.cuda.stream(self._in):
            placed = x.detach().to(self._device, non_blocking=True)
        computing = torch.cuda.current_stream(self._device)
        computing.wait_stream(self._in)
        placed.record_stream(computing)  # it is of the other stream's memory
        return placed

    def take(self, x: Tensor) -> Leaving:
        """Begin the copy into pinned memory; ``x`` may be let go at once."""
        x = x.contiguous()
        pinned = torch.empty(x.shape, dtype=x.dtype, pin_memory=True)
        self._out.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._out):
            pinned.copy_(x, non_blocking=True)
            copied = _event()
            copied.record()
        x.record_stream(self._out)
        return Leaving(pinned, copied)

    def computed(self) -> None:
        """Wait for the stream that computes."""
        torch.cuda.current_stream(self._device).synchronize()


def _stream(device: torch.device) -> torch.cuda.Stream:
    stream: torch.cuda.Stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return stream


def _event() -> torch.cuda.Event:
    event: torch.cuda.Event = torch.cuda.Event()  # type: ignore[no-untyped-call]
    return event


def staging_of(device: torch.device) -> Staging:
    """The way to and from a device."""
    return Streamed(device) if device.type == "cuda" else Direct(device)
