"""What local steps ask of the rest of a job."""

from __future__ import annotations

from collections.abc import Iterator

from swarmd.protocols.spec import AveragingSpec, BatchSpec, NumericsSpec, ScheduleSpec
from swarmd.protocols.specrules import Fault

_REPLICAS = "averaging.replicas"


def averaging_faults(
    averaging: AveragingSpec, batch: BatchSpec, schedule: ScheduleSpec, numerics: NumericsSpec
) -> Iterator[Fault]:
    """Micro-batches that replicas cannot share evenly, and what replicas cannot have."""
    lanes, count = averaging.replicas, batch.micro_batches
    if lanes == 1:
        return
    if count % lanes:
        below, above = count - count % lanes, count - count % lanes + lanes
        use = f"{below} or {above}" if below else str(above)
        problem = f"must divide by the {lanes} replicas of [averaging]; use {use}"
        yield Fault("batch.micro_batches", count, problem, ("batch.micro_batches", _REPLICAS))
    if schedule.asynchronous:
        problem = "replicas that train apart have no stale steps; use 1, or remove async_after"
        yield Fault(_REPLICAS, lanes, problem, (_REPLICAS, "schedule.async_after"))
    if numerics.sum != "exact":
        problem = 'replicas that train apart need sum = "exact"; use 1'
        yield Fault(_REPLICAS, lanes, problem, (_REPLICAS, "numerics.sum"))
