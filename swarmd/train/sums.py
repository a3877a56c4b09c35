"""Sums of gradients over the micro-batches of a step.

``ExactSums`` rounds each value to a multiple of 2^-40, half to even, and adds it as an integer in float64.
Sums of integers below 2^53 are exact there, so neither the order nor the grouping of micro-batches can
change a bit: reproducible summation (Demmel & Nguyen 2013) with one fixed bin. A value so large that the
step's micro-batches together could pass 2^53, or one that is not finite, ends the run; each value is judged
alone, so whether that happens does not depend on order either.

Replicas of a stage each sum some of a step's micro-batches and exchange their totals. These are integers too, so adding
them is exact: the sum of all has the bits that one peer alone would have found.

``OrderedSums`` adds float32 values in micro-batch order, and holds back what comes early.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Set
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from swarmd.protocols.errors import ProtocolViolation, RunFailed
from swarmd.protocols.spec import JobSpec
from swarmd.train.units import Shapes, unit_shapes

GRID = 2.0**40
EXACT_INTEGERS = 2.0**53
VALUE_BYTES = 8

Gradients = Mapping[str, Tensor]


class Sums(Protocol):
    """What the plain loop and a stage need of either kind."""

    def add(self, step: int, micro_batch: int, gradients: Gradients) -> None:
        """Count one micro-batch's gradients. Raises RunFailed, or ProtocolViolation for a repeat."""
        ...

    def total(self, name: str) -> Tensor:
        """The sum for one parameter, float32. Only when ``complete``."""
        ...

    @property
    def complete(self) -> bool:
        """Whether every micro-batch of the step is in."""
        ...

    def clear(self) -> None:
        """Begin the next step."""
        ...


def sums_of(spec: JobSpec, units: Iterable[str], device: torch.device, lane: int = 0) -> Sums:
    """The sums that ``numerics.sum`` names, for the parameters of some units; of local steps, one replica's."""
    shapes = {name: shape for unit in units for name, shape in unit_shapes(spec.model, unit).items()}
    # Apple's GPUs have no float64: there, sums are kept on the CPU.
    place, count = torch.device("cpu") if device.type == "mps" else device, spec.batch.micro_batches
    if spec.numerics.sum == "ordered":
        return OrderedSums(shapes, count, place)
    return ExactSums(shapes, count, place, spec.batch.of_lane(lane, spec.lanes))


class ExactSums:
    """Sums on a grid of 2^-40. Holds 8 bytes a parameter, and 8 more while other replicas' totals come in."""

    def __init__(
        self, shapes: Shapes, micro_batches: int, device: torch.device, counted: Iterable[int] | None = None
    ) -> None:
        """One vector holds all values, in the order of ``shapes``; each total is a view of its piece.

        ``counted``: the micro-batches that a step's sum is of; all, if not given.
        """
        self._shapes, self._device = shapes, device
        self._flat = torch.zeros(sum(map(math.prod, shapes.values())), dtype=torch.float64, device=device)
        self._totals = self._pieces(self._flat)
        self._others: Tensor | None = None
        self._others_totals: dict[str, Tensor] = {}
        self._due = _Due(range(micro_batches) if counted is None else counted)
        self._limit = EXACT_INTEGERS / micro_batches

    @property
    def size(self) -> int:
        """How many values there are."""
        return self._flat.numel()

    @property
    def complete(self) -> bool:
        """Whether every micro-batch of the step is in."""
        return self._due.complete

    def add(self, step: int, micro_batch: int, gradients: Gradients) -> None:
        """Count one micro-batch's gradients, in any order. Raises as ``Sums.add`` does."""
        self._due.take(micro_batch)
        extremes: list[Tensor] = []
        for name, total in self._totals.items():
            # In float32: the product is exact, and every integer that rounding can give is a float32.
            units = (gradients[name].to(self._device, torch.float32) * GRID).round_()
            extremes += torch.aminmax(units)
            total.add_(units)
        self._check(step, micro_batch, torch.stack(extremes).abs_().tolist())

    def part(self, begin: int, end: int) -> bytes:
        """Values ``[begin, end)`` of what was added here: float64 integers, little-endian."""
        return self._flat[begin:end].cpu().numpy().astype("<f8").tobytes()

    def merge(self, begin: int, values: bytes | bytearray | memoryview, micro_batches: Set[int]) -> None:
        """Add another replica's ``part`` from ``begin`` on, whose sum is of these micro-batches.

        Raises ProtocolViolation for what no sum of so many can be.
        """
        count, odd = divmod(len(values), VALUE_BYTES)
        if odd or not 0 <= begin <= begin + count <= self.size:
            raise ProtocolViolation(
                f"a part of {len(values)} bytes from value {begin} on does not fit {self.size} values"
            )
        came = torch.from_numpy(np.frombuffer(values, "<f8").astype(np.float64)).to(self._device)
        if count and not bool(((came == came.round()) & (came.abs() <= self._limit * len(micro_batches))).all()):
            raise ProtocolViolation(f"a part has a value that is no sum of {len(micro_batches)} micro-batches")
        if self._others is None:
            self._others = torch.zeros_like(self._flat)
            self._others_totals = self._pieces(self._others)
        self._others[begin : begin + count].add_(came)

    def close(self, micro_batches: Set[int]) -> None:
        """Another replica's part is merged to its last value. Raises ProtocolViolation for a repeat."""
        for micro_batch in sorted(micro_batches):
            self._due.take(micro_batch)

    def total(self, name: str) -> Tensor:
        """The exact sum, rounded once to float32."""
        total = self._totals[name]
        if self._others is not None:
            total = total + self._others_totals[name]
        return total.to(torch.float32).mul_(1.0 / GRID)

    def clear(self) -> None:
        """Begin the next step."""
        for values in (self._flat, self._others):
            if values is not None:
                values.zero_()
        self._due.clear()

    def _pieces(self, flat: Tensor) -> dict[str, Tensor]:
        pieces = torch.split(flat, [math.prod(shape) for shape in self._shapes.values()])
        return {name: piece.view(shape) for (name, shape), piece in zip(self._shapes.items(), pieces, strict=True)}

    def _check(self, step: int, micro_batch: int, extremes: list[float]) -> None:
        for index, name in enumerate(self._totals):
            for extreme in extremes[2 * index : 2 * index + 2]:
                if not extreme <= self._limit:  # also true of a NaN
                    raise _too_large(name, step, micro_batch, extreme / GRID)


class OrderedSums:
    """Sums in micro-batch order. Holds 4 bytes a parameter, and the gradients that came early."""

    def __init__(self, shapes: Shapes, micro_batches: int, device: torch.device) -> None:
        self._totals = {name: torch.zeros(shape, device=device) for name, shape in shapes.items()}
        self._due = _Due(range(micro_batches))
        self._early: dict[int, Gradients] = {}
        self._next = 0
        self._device = device

    @property
    def complete(self) -> bool:
        """Whether every micro-batch of the step is in."""
        return self._due.complete

    def add(self, step: int, micro_batch: int, gradients: Gradients) -> None:
        """Count one micro-batch's gradients when its turn comes. Raises as ``Sums.add`` does."""
        self._due.take(micro_batch)
        self._early[micro_batch] = gradients
        while self._next in self._early:
            self._add(step, self._next, self._early.pop(self._next))
            self._next += 1

    def total(self, name: str) -> Tensor:
        """The sum, float32; good until ``clear``."""
        return self._totals[name]

    def clear(self) -> None:
        """Begin the next step."""
        for total in self._totals.values():
            total.zero_()
        self._due.clear()
        self._next = 0

    def _add(self, step: int, micro_batch: int, gradients: Gradients) -> None:
        for name, total in self._totals.items():
            total.add_(gradients[name].to(self._device))
        extremes = [extreme for total in self._totals.values() for extreme in torch.aminmax(total)]
        for index, extreme in enumerate(torch.stack(extremes).tolist()):
            if not math.isfinite(extreme):
                raise _too_large(list(self._totals)[index // 2], step, micro_batch, extreme)


class _Due:
    """Which micro-batches of the step are in."""

    def __init__(self, micro_batches: Iterable[int]) -> None:
        self._all = frozenset(micro_batches)
        self._counted: set[int] = set()

    @property
    def complete(self) -> bool:
        return self._counted == self._all

    def take(self, micro_batch: int) -> None:
        if micro_batch not in self._all or micro_batch in self._counted:
            raise ProtocolViolation(f"micro-batch {micro_batch} is counted already, or is not of this step")
        self._counted.add(micro_batch)

    def clear(self) -> None:
        self._counted.clear()


def _too_large(name: str, step: int, micro_batch: int, value: float) -> RunFailed:
    return RunFailed(
        f"step {step}, micro-batch {micro_batch}: the gradient of {name} has a value of magnitude "
        f"{value:.3g}, which no sum can hold exactly",
        hint="training has diverged: lower optimizer.lr, or warm up for longer",
    )
