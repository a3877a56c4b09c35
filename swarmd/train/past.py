"""The version before the newest one, kept on the host so that a stage can go back one step.

Stages commit without a barrier, so those of one run can be a step apart. When a peer is lost the others agree on the
lowest version that any of them has, and go on from there (decision 17).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import torch
from torch import Tensor

from swarmd.protocols.errors import ProtocolViolation
from swarmd.train.checkpoint import Unit


class Past:
    """One earlier version of some units. Its tensors are made once, and written to at each commit."""

    def __init__(self, units: Mapping[str, Unit]) -> None:
        self._kept = [_on_host(tensor) for tensor in _tensors(units.values())]
        self._version: int | None = None

    @property
    def version(self) -> int | None:
        """The version that is kept; None before the first commit."""
        return self._version

    def keep(self, version: int, units: Mapping[str, Unit]) -> None:
        """These units are about to change: they are of this version."""
        with torch.no_grad():
            for kept, tensor in zip(self._kept, _tensors(units.values()), strict=True):
                kept.copy_(tensor)
        self._version = version

    def restore(self, version: int, units: Mapping[str, Unit]) -> None:
        """Write the version that is kept over these units. Raises ProtocolViolation if it is another."""
        if version != self._version:
            raise ProtocolViolation(f"the weights of step {version} are no longer here")
        with torch.no_grad():
            for kept, tensor in zip(self._kept, _tensors(units.values()), strict=True):
                tensor.copy_(kept)
        self._version = None


def _tensors(units: Iterable[Unit]) -> Iterator[Tensor]:
    for unit in units:
        for kind in (unit.weights, unit.exp_avg, unit.exp_avg_sq):
            yield from kind.values()


def _on_host(tensor: Tensor) -> Tensor:
    return torch.empty_like(tensor, device="cpu", pin_memory=tensor.is_cuda, requires_grad=False)
