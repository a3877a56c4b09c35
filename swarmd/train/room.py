"""Is there as much memory on the device now as the daemon believed? If not, the stage makes do with what there is.

The daemon plans with what its owner lends. What else is on the device, torch's own context on a GPU among it, only the
process that computes can see.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import torch

from swarmd.compute.layout import layout_of
from swarmd.compute.messages import Load
from swarmd.gpu.devices import free_memory
from swarmd.protocols.errors import OutOfMemory
from swarmd.protocols.footprint import stage_memory
from swarmd.protocols.spec import JobSpec
from swarmd.scheduler.explain import size
from swarmd.scheduler.fitting import fitted, least_needed, thrift


def with_what_there_is(load: Load, spec: JobSpec, device: torch.device) -> tuple[Load, str]:
    """The stage as it can be run here now, and what it does without, in words; empty: nothing.

    Raises OutOfMemory when not even one micro-batch at a time fits.
    """
    needs = partial(_needs, load, spec)
    free, room = free_memory(device), max(load.room, load.credit)
    fit = fitted(needs, credit=load.credit, room=room, free=free, recompute=load.recompute)
    if fit is None:
        raise OutOfMemory(
            f"layers {load.first} to {load.end - 1} need {size(least_needed(needs))} of memory, and {size(free)} are "
            f"free on {device}",
            hint="close what else uses the device, or set memory_limit to what may be used",
        )
    words = thrift(fit, credit=load.credit, free=free, recompute=load.recompute)
    return replace(load, credit=fit.credit, room=fit.room, recompute=fit.recompute), words


def planned(load: Load, spec: JobSpec, device: torch.device) -> str:
    """What was planned for a stage, and what is free, in words."""
    needed = _needs(load, spec, max(load.room, load.credit), load.recompute)
    return f"{size(needed)} were planned for it, {size(free_memory(device))} are free on {device}"


def _needs(load: Load, spec: JobSpec, held: int, recompute: bool) -> int:
    layout, several = layout_of(spec), bool(load.around.others)
    shared = several and spec.lanes == 1
    memory = stage_memory(spec, load.first, load.end, held, recompute=recompute, shared=shared, keeps=load.keeps)
    return memory + (layout.total_bytes if several else layout.frame_bytes)
