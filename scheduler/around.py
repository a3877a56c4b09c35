"""What a place of a plan has to know of the places around it: whom it hears, and to whom it speaks."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.statements import Plan
from swarmd.scheduler.routing import deal


@dataclass(frozen=True, slots=True)
class Seat:
    """One place of a plan."""

    place: int
    credit: int = 1
    """Micro-batches it may hold."""
    service: int = 0
    """Planned microseconds for a micro-batch; 0 where no other place holds the stage."""


@dataclass(frozen=True, slots=True)
class Around:
    """The seats of the stage before, of the own stage and of the stage after; the first of each is its head."""

    place: int
    before: tuple[Seat, ...]
    beside: tuple[Seat, ...]
    """The own one among them."""
    after: tuple[Seat, ...]

    @property
    def others(self) -> tuple[int, ...]:
        """The other replicas of the own stage."""
        return tuple(seat.place for seat in self.beside if seat.place != self.place)

    @property
    def column(self) -> int:
        """Which of the own stage's replicas this is."""
        return [seat.place for seat in self.beside].index(self.place)

    @property
    def is_head(self) -> bool:
        """Whether evaluations go through this place."""
        return self.beside[0].place == self.place

    @property
    def neighbours(self) -> tuple[int, ...]:
        """All places that this one has links with."""
        return (*(seat.place for seat in self.before), *self.others, *(seat.place for seat in self.after))


def around(plan: Plan, place: int, *, apart: bool = False) -> Around:
    """What lies around a place of a plan. Raises ValueError for a place the plan does not have.

    ``apart``: replicas train apart, so each hears and speaks to the replica of its own number in the next stages.
    """
    stage = stage_of(plan, place)
    groups: tuple[range | tuple[()], ...] = ((), *plan.groups, ())
    before, beside, after = (_seats(plan, group) for group in groups[stage : stage + 3])
    if apart:
        column = place - plan.groups[stage][0]
        before, after = before[column : column + 1], after[column : column + 1]
    return Around(place, before, beside, after)


def chain_around(stage: int, stages: int) -> Around:
    """What lies around a stage of a plan without replicas, where a place is a stage."""
    seats = [(Seat(at),) if 0 <= at < stages else () for at in (stage - 1, stage, stage + 1)]
    return Around(stage, *seats)


def dealt_to(around: Around, micro_batches: int) -> tuple[int, ...] | None:
    """The micro-batches of each step that a place of a shared first stage begins with; None: all, as they come."""
    if around.before or not around.others:
        return None
    places = [seat.place for seat in around.beside]
    dealt = deal([float(seat.service) for seat in around.beside], micro_batches)
    return tuple(each for each, number in enumerate(dealt) if places[number] == around.place)


def stage_of(plan: Plan, place: int) -> int:
    """The stage of a place. Raises ValueError for a place the plan does not have."""
    for stage, group in enumerate(plan.groups):
        if place in group:
            return stage
    raise ValueError(f"the plan has no place {place}")


def _seats(plan: Plan, group: range | tuple[()]) -> tuple[Seat, ...]:
    return tuple(Seat(place, plan.stages[place].credit, plan.stages[place].service) for place in group)
