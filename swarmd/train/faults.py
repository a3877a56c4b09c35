"""Faults at named points, for tests: what must be noticed is made to happen, not waited for.

A fault is written ``KIND:PLACE:STEP`` or ``KIND:PLACE:STEP:POINT``, and strikes that place of a run's first plan once:

    flip      the lowest bit of one weight is turned over
    kill      the daemon that holds the stage gets SIGKILL
    crash     the compute process gets SIGKILL
    freeze    the daemon gets SIGSTOP, and the compute process too

    forward       after the step's first forward pass, before its output is sent
    backward      after its first backward pass, before the gradient is sent
    commit        after its commit, before anybody is told; the one that is meant where none is named
    checkpoint    after its checkpoint is written, before anybody is told

One has no point: ``slow:MILLISECONDS`` makes every forward of the node, and the timing of a layer, so much longer.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable

import torch

from swarmd.compute.messages import Load
from swarmd.train.stage import Stage

POINTS = ("forward", "backward", "commit", "checkpoint")


class Strikes:
    """The fault that a node was started with, on its way to its point."""

    def __init__(self, load: Load, stage: Stage) -> None:
        """Raises ValueError for an unknown kind or point."""
        self._stage = stage
        self._kind, where, step, point = (*load.fault.split(":"), "", "", "")[:4]
        self._at = (step, point or "commit")
        self._due = (where, load.term, load.plan) == (str(load.around.place), 1, 1)
        if load.fault and (self._kind not in _KINDS or (point and point not in POINTS)):
            raise ValueError(f"unknown fault {load.fault!r}")

    def reached(self, step: int, point: str) -> None:
        """Do the fault if this is its point."""
        if self._due and self._at == (str(step), point):
            self._due = False
            _KINDS[self._kind](self._stage)


def _flip(stage: Stage) -> None:
    _flip_lowest_bit(next(iter(stage.parameters.values())))


def _kill(_: Stage) -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def _crash(_: Stage) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _freeze(_: Stage) -> None:
    os.kill(os.getppid(), signal.SIGSTOP)
    os.kill(os.getpid(), signal.SIGSTOP)


def _nothing(_: Stage) -> None:
    """``slow`` is at no point."""


_KINDS: dict[str, Callable[[Stage], None]] = {
    "flip": _flip,
    "kill": _kill,
    "crash": _crash,
    "freeze": _freeze,
    "slow": _nothing,
}


def lag(fault: str) -> float:
    """Seconds that each forward takes more."""
    kind, _, milliseconds = fault.partition(":")
    return float(milliseconds) / 1000 if kind == "slow" else 0.0


def _flip_lowest_bit(weight: torch.Tensor) -> None:
    with torch.no_grad():
        bits = weight.view(torch.int32).flatten()
        bits[0] ^= 1
