"""Whether a run that loses a peer can go on without ending its term, and with which plan.

Where another replica holds the lost one's stage, nothing has to be brought from anywhere: the others stand still, agree
on the newest version that all of them have, and go on from there with a plan of fewer places (decision 17).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace

from swarmd.protocols.ids import PeerId
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan, StageAssignment


def may_mend(plan: Plan, spec: JobSpec) -> bool:
    """Whether a peer of this plan can be done without: stages then keep the version before the newest one.

    Replicas that train apart are as many as the spec says; stale steps need weights of two versions.
    """
    return plan.shared and spec.lanes == 1 and not spec.schedule.asynchronous


def covers(numbers: Iterable[int], left: Collection[int]) -> bool:
    """Whether every stage of some places is among those of the places that are left."""
    return set(numbers) == set(left)


def common_version(halted: Iterable[tuple[int, int]]) -> int | None:
    """The newest version that all stages can be at, from what each has: (newest, oldest). None: there is none."""
    newest, oldest = zip(*halted, strict=True)
    return min(newest) if max(oldest) <= min(newest) else None


def mended(plan: Plan, left: Collection[PeerId]) -> Plan:
    """The next plan of the term, with these peers alone. Raises ValueError if a stage has none of them."""
    places = [place for place in plan.stages if place.peer in left]
    alone = {key for key in map(_layers, places) if [_layers(place) for place in places].count(key) == 1}
    stages = tuple(replace(place, service=0) if _layers(place) in alone else place for place in places)
    return replace(plan, number=plan.number + 1, stages=stages)


def _layers(place: StageAssignment) -> tuple[int, int]:
    return place.first, place.end
