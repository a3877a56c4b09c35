"""The weights that steps compute with: the newest version, and while stale steps need it the one before.

With stale steps there are two sets of tensors, as in PipeDream-2BW (Narayanan et al. 2021, arXiv 2006.09503): what
backward needs of version t is never written to. Version t + 1 is made in the tensors of version t - 1, which no step
uses any more.
"""

from __future__ import annotations

from dataclasses import replace

import torch

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.spec import JobSpec
from swarmd.train.checkpoint import Unit
from swarmd.train.model import Model
from swarmd.train.optim import AdamW
from swarmd.train.past import Past
from swarmd.train.subspace import open_subspace
from swarmd.train.sums import Sums
from swarmd.train.working import refresh, working


class Versions:
    """Some units of a run at their newest version, and at the one before it.

    ``version`` is the number of steps in the newest weights. Raises ProtocolViolation for a first version whose next
    step is stale: only checkpoints of the run's own schedule can be gone on from.
    """

    def __init__(
        self, spec: JobSpec, units: dict[str, Unit], version: int, device: torch.device, *, recompute: bool = False
    ) -> None:
        if spec.schedule.stale(version + 1):
            raise ProtocolViolation(f"step {version + 1} needs weights that a checkpoint of step {version} lacks")
        self._spec, self._optimizer, self._recompute = spec, AdamW(spec), recompute
        self._subspace = open_subspace(spec, device)
        self.version = version
        self.units = units
        self.newest = self._model()
        self._before: tuple[dict[str, Unit], Model] | None = None
        self._past: Past | None = None

    @property
    def oldest(self) -> int:
        """The lowest version that ``go_back`` can reach."""
        kept = self._past.version if self._past else None
        return self.version if kept is None else kept

    def keep_past(self, wanted: bool) -> None:
        """From now on keep the version before the newest one, or keep it no longer."""
        self._past = (self._past or Past(self.units)) if wanted else None

    def go_back(self, version: int) -> None:
        """Be at this version again. Raises ProtocolViolation for one that is no longer here."""
        if version == self.version:
            return
        if self._past is None:
            raise ProtocolViolation(f"the weights of step {version} are no longer here")
        self._past.restore(version, self.units)
        self.version = version
        self.changed()

    def of(self, step: int) -> Model:
        """The model that a step's micro-batches go through. Raises ProtocolViolation for a step not open now."""
        wanted = self._spec.schedule.computed_with(step)
        if self.version < step and wanted == self.version:
            return self.newest
        if self.version < step and wanted == self.version - 1 and self._before is not None:
            return self._before[1]
        raise ProtocolViolation(f"step {step} at a stage whose weights are of step {self.version}")

    def update(self, step: int, sums: Sums) -> list[tuple[str, float]]:
        """Make the next version; each unit's squared gradient norm before clipping."""
        if self._spec.schedule.stale(step + 1):
            self._keep()
        if self._past is not None:
            self._past.keep(self.version, self.units)
        self.version = step
        squares = [(name, self._optimizer.update(step, unit, sums)) for name, unit in self.units.items()]
        self.changed()
        return squares

    def changed(self) -> None:
        """The newest weights were written to: copies of them follow."""
        refresh(self.newest.weights, self.units)

    def _keep(self) -> None:
        """Leave the newest weights to step ``version + 2``, and go on in the other tensors."""
        newest, other = (self.units, self.newest), self._before
        if other is None:
            self.units = {name: _copy(unit) for name, unit in self.units.items()}
            self.newest = self._model()
        else:
            self.units, self.newest = other
            _overwrite(self.units, newest[0])
        self._before = newest

    def _model(self) -> Model:
        weights = {name: unit.weights for name, unit in self.units.items()}
        used = working(self._spec, weights)
        return Model(
            self._spec.model, used, self._spec.wire, self._subspace,
            recompute=self._recompute, compiled=self._spec.numerics.compiled,
        )  # fmt: skip


def _copy(unit: Unit) -> Unit:
    """Other weights with the same values; the moments are shared."""
    return replace(unit, weights={name: each.detach().clone().requires_grad_() for name, each in unit.weights.items()})


def _overwrite(units: dict[str, Unit], by: dict[str, Unit]) -> None:
    with torch.no_grad():
        for name, unit in units.items():
            for key, weight in unit.weights.items():
                weight.copy_(by[name].weights[key])
