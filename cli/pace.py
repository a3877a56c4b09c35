"""What a pipeline's figures say: which stage holds it up, and how much of it stands idle."""

from __future__ import annotations

from collections.abc import Sequence

from swarmd.protocols.control import StageView

_STANDS_OUT = 1.1
"""How many times the mean a stage must take before it is worth a mark."""


def slowest(stages: Sequence[StageView]) -> int | None:
    """The index of the stage that takes clearly longest over a micro-batch, or None."""
    times = {stage.index: stage.forward_ms + stage.backward_ms for stage in stages}
    if len(times) < 2 or not any(times.values()):
        return None
    worst = max(times, key=lambda index: times[index])
    return worst if times[worst] > _STANDS_OUT * sum(times.values()) / len(times) else None


def idle_share(stages: Sequence[StageView]) -> float | None:
    """The share of the stages' time that is not spent computing: the bubble."""
    return 1 - sum(stage.busy for stage in stages) / len(stages) if stages else None
