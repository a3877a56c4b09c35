"""Faults at named points, for tests: what must be noticed is made to happen, not waited for.

A fault is written ``KIND:PLACE:STEP`` and strikes that place of the plan just after it has committed that step,
before anybody is told:

    flip    the lowest bit of one weight is turned over
    kill    the daemon that holds the stage gets SIGKILL
    crash   the compute process gets SIGKILL

One has no point: ``slow:MILLISECONDS`` makes every forward of the node, and the timing of a layer, so much longer.
"""

from __future__ import annotations

import os
import signal

import torch

from swarmd.train.stage import Stage


def strike(fault: str, place: int, step: int, stage: Stage) -> None:
    """Do the fault if this is its point; nothing for an empty one. Raises ValueError for an unknown kind."""
    kind, _, point = fault.partition(":")
    if point != f"{place}:{step}":
        return
    if kind == "flip":
        _flip_lowest_bit(next(iter(stage.parameters.values())))
    elif kind in ("kill", "crash"):
        os.kill(os.getppid() if kind == "kill" else os.getpid(), signal.SIGKILL)
    else:
        raise ValueError(f"unknown fault {fault!r}")


def lag(fault: str) -> float:
    """Seconds that each forward takes more."""
    kind, _, milliseconds = fault.partition(":")
    return float(milliseconds) / 1000 if kind == "slow" else 0.0


def _flip_lowest_bit(weight: torch.Tensor) -> None:
    with torch.no_grad():
        bits = weight.view(torch.int32).flatten()
        bits[0] ^= 1
