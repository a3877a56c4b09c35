"""How a stage makes do with the memory there is: fewer micro-batches at once, or activations computed a second time.

A stage that holds fewer micro-batches than its planned credit waits for its neighbours in proportion. One that
recomputes what a layer keeps for its backward (Chen et al. 2016, arXiv 1604.06174) computes a forward pass twice: about
a quarter of its speed. Of what fits, the faster is taken; of equals, the one without recomputing. Neither changes a bit
of the result.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swarmd.scheduler.explain import size

RECOMPUTING_SPEED = 3 / 4
"""A forward is a third of a micro-batch's time, and is done once more."""

Needs = Callable[[int, bool], int]
"""Bytes that a stage needs with so many micro-batches held, and with or without recomputing."""


@dataclass(frozen=True, slots=True)
class Fit:
    """How a stage is run."""

    credit: int
    """Micro-batches it may hold between forward and backward."""
    room: int
    """Micro-batches that memory is kept free for, at least ``credit``."""
    recompute: bool
    """Whether layers keep only their input for the backward pass."""
    needed: int
    """Bytes."""


def fitted(needs: Needs, *, credit: int, room: int, free: int, recompute: bool = False) -> Fit | None:
    """The fastest way to run a stage in ``free`` bytes; None when not even one micro-batch at a time fits.

    ``credit`` is what is planned, ``room`` what is useful at most. With ``recompute`` there is no way without.
    """
    ways = [_way(needs, again, credit, room, free) for again in ((True,) if recompute else (False, True))]
    possible = [way for way in ways if way is not None]
    return max(possible, key=lambda way: _speed(way, credit), default=None)


def least_needed(needs: Needs) -> int:
    """Bytes below which a stage cannot be run at all."""
    return min(needs(1, False), needs(1, True))


def thrift(fit: Fit, *, credit: int, free: int, recompute: bool = False) -> str:
    """What a stage does without, for people; empty: it is run as planned, with this credit and ``recompute``."""
    less = f"it holds {fit.credit} of {credit} micro-batches" if fit.credit < credit else ""
    again = "it computes activations twice" if fit.recompute and not recompute else ""
    how = " and ".join(filter(None, (less, again)))
    return f"memory is short, {size(free)} are free: {how}" if how else ""


def _way(needs: Needs, recompute: bool, credit: int, room: int, free: int) -> Fit | None:
    held = next((count for count in range(max(room, credit), 0, -1) if needs(count, recompute) <= free), 0)
    if not held:
        return None
    return Fit(min(held, credit), held, recompute, needs(held, recompute))


def _speed(way: Fit, credit: int) -> float:
    """Compared with a stage that has all the memory it could use."""
    return way.credit / credit * (RECOMPUTING_SPEED if way.recompute else 1.0)
