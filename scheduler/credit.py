"""How many micro-batches a stage may hold, and how many weight gradients it may put off, from measured times."""

from __future__ import annotations

from fractions import Fraction
from math import ceil, floor


def credit_for(*, own: float, away: float, slack: int = 1) -> int:
    """The credit of a stage from what it measured itself, by Little's law as in ``credits``.

    ``own``: forward and backward here, above zero; that stages behind this one may be slower is left out, and
    costs memory only. ``away``: from a forward's end until its gradient came, for a micro-batch that met no
    queue; it holds all stages and links behind this one, whatever each of them takes. Seconds.
    """
    return 1 + ceil(away / own) + slack


def deferral_for(*, gap: float, weights: float) -> int:
    """How many weight gradients fit into the time between two steps.

    One less costs its own time; one more costs as much as several: the stages before have then gone back over all they
    hold, and wait for the last forward to return.

    ``gap``: from the last input gradient of a step, sent, to the first forward of the next; ``weights``: the
    time of one weight gradient. Seconds; ``weights`` above zero.
    """
    return floor(gap / weights)


ASSUMED_ROUND_TRIP = 0.05
"""Seconds between neighbours, until it is measured: credits for a home link cost a near one only memory."""
BACKWARD_SHARE = 2 / 3
"""Of a micro-batch's time: backward computes two products for forward's one."""


def planned_credit(stage: int, stages: int, *, seconds: float, period: float) -> int:
    """The credit of a stage that takes ``seconds`` for a micro-batch and gets one every ``period``."""
    return credits(
        stage,
        stages,
        forward=seconds * (1 - BACKWARD_SHARE),
        backward=seconds * BACKWARD_SHARE,
        transfer=0.0,
        round_trip=ASSUMED_ROUND_TRIP,
        period=period,
    )


def credits(
    stage: int,
    stages: int,
    *,
    forward: float,
    backward: float,
    transfer: float,
    round_trip: float,
    period: float,
    slack: int = 1,
) -> int:
    """How many micro-batches a stage must hold so that no link's delay makes anybody wait.

    Little's law: what is under way is rate times time. A micro-batch is away from this stage while it passes
    the ``stages - stage`` stages from here on, both ways, and the links between them; one comes back every
    ``period`` seconds, the time of the slowest stage. All times are seconds per micro-batch: ``forward`` and
    ``backward`` of a typical stage, ``transfer`` over a link one way, ``round_trip`` of an empty message.

    Raises ValueError for a period that is not above zero, or a time that is no finite number.
    """
    if not period > 0:
        raise ValueError("the period must be above zero")
    try:
        compute = Fraction(forward) + Fraction(backward)
        link = 2 * Fraction(transfer) + Fraction(round_trip)
        away = (stages - stage) * compute + (stages - 1 - stage) * link
        return max(1, ceil(away / Fraction(period)) + slack)
    except OverflowError as error:
        raise ValueError("a time is not finite") from error
