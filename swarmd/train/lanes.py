"""Replicas of a whole model as the plain loop trains them, one after another."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch

from swarmd.protocols.rounds import Round, round_of
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Unit
from swarmd.train.evaluate import Batches, loss_share, on_device
from swarmd.train.outer import Outer
from swarmd.train.sums import sums_of
from swarmd.train.versions import Versions

LaneStep = tuple[float, list[float]]
"""The mean loss of a lane's micro-batches, and its units' squared gradient norms."""


class Lane:
    """One copy of the weights, and the micro-batches that are its own; without ``[averaging]`` there is one, of all."""

    def __init__(self, spec: JobSpec, units: dict[str, Unit], version: int, number: int, device: torch.device) -> None:
        self._spec, self._device = spec, device
        self._own = spec.batch.of_lane(number, spec.lanes)
        self._sums = sums_of(spec, units, device, number)
        self.weights = Versions(spec, units, version, device)
        self._outer = Outer(spec, units if spec.lanes > 1 else {})

    def step(self, step: int, data: Batches) -> LaneStep:
        """Forward, backward and update. Raises RunFailed."""
        losses, model, spec = [], self.weights.of(step), self._spec
        for index in self._own:
            inputs, targets = (on_device(ids, self._device) for ids in data.micro_batch(step, index))
            loss = loss_share(model(inputs), targets, spec.batch.tokens_per_step // spec.lanes)
            gradients = torch.autograd.grad(loss, list(model.parameters.values()))
            self._sums.add(step, index, dict(zip(model.parameters, gradients, strict=True)))
            losses.append(loss.item())
        squares = [square for _, square in self.weights.update(step, self._sums)]
        self._sums.clear()
        return math.fsum(losses), squares

    def told(self, of: Round) -> bytes:
        """What this lane tells the others in a round."""
        return self._outer.told(of)

    def use(self, of: Round, told: Sequence[bytes]) -> None:
        """Move the weights by what all lanes told."""
        self._outer.use(of, told)
        self.weights.changed()


class Averager:
    """Brings each round to all lanes when it is used; there is none for one lane."""

    def __init__(self, spec: JobSpec, lanes: Sequence[Lane]) -> None:
        self._spec, self._lanes = spec, lanes
        self._open: tuple[Round, list[bytes]] | None = None

    def stepped(self, step: int) -> None:
        """All lanes have updated their weights."""
        began = round_of(self._spec, step)
        if began is not None and began.full:
            self._use(began, self._told(began))
            return
        if self._open is not None:
            self._use(*self._open)
        self._open = None if began is None else (began, self._told(began))

    def _told(self, of: Round) -> list[bytes]:
        return [lane.told(of) for lane in self._lanes]

    def _use(self, of: Round, told: list[bytes]) -> None:
        for lane in self._lanes:
            lane.use(of, told)


def copied(units: dict[str, Unit]) -> dict[str, Unit]:
    """Units with the same values in other memory."""
    return {name: unit.copied() for name, unit in units.items()}
