"""When replicas that train apart average which units: all of it follows from the spec.

Units take turns, so that a link carries a little all the time instead of everything at once (Streaming DiLoCo,
Douillard et al. 2025, arXiv 2501.18512): unit i of n is averaged at steps that are ``-i * every / n`` modulo ``every``.
What replicas tell of a step is used one step later, so it travels while they compute. At a checkpoint all units
are averaged, and used at once: from there on one state is all that a run needs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum, sqrt

from swarmd.protocols.checkpoint import unit_names
from swarmd.protocols.spec import JobSpec


@dataclass(frozen=True, slots=True)
class Round:
    """Units whose changes up to a step are averaged."""

    step: int
    units: tuple[str, ...]
    """Of the whole model, in the order of data."""
    full: bool
    """Of all units, with their moments, used at the end of this step; else one step later."""

    @property
    def used(self) -> int:
        """The step at whose end the average is used."""
        return self.step if self.full else self.step + 1


def round_of(spec: JobSpec, step: int) -> Round | None:
    """The round that begins when a step's update is made; None if there is none.

    The step before a full round has none: it would be used when all is averaged anyway.
    """
    if spec.lanes == 1 or step < 1:
        return None
    names = unit_names(spec.model.num_hidden_layers)
    if _is_full(spec, step):
        return Round(step, names, full=True)
    every = spec.averaging.every
    due = tuple(name for at, name in enumerate(names) if (step + at * every // len(names)) % every == 0)
    return Round(step, due, full=False) if due and not _is_full(spec, step + 1) else None


def next_round(spec: JobSpec, after: int) -> Round | None:
    """The first round that begins after a step; None after the last."""
    steps = range(after + 1, min(after + 2 * spec.averaging.every, spec.schedule.steps) + 1)
    return next((found for step in steps if (found := round_of(spec, step))), None)


def over_lanes(losses: Sequence[float], squares: Iterable[float]) -> tuple[float, float]:
    """A step's loss and gradient norm over all replicas: the mean, and the root of the mean square.

    ``losses`` of each replica; ``squares``: squared norms of all their units.
    """
    return fsum(losses) / len(losses), sqrt(fsum(squares) / len(losses))


def _is_full(spec: JobSpec, step: int) -> bool:
    return step == spec.schedule.steps or step % spec.schedule.checkpoint_every == 0
