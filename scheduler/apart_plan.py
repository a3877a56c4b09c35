"""Plans for replicas that train apart: peers of like speed form teams, and a team is planned as one peer.

All replicas of a stage end their steps together, so a team is as slow as its slowest member and has as much memory as
its smallest. Peers are sorted by speed and dealt into teams in that order, which leaves least of their speed unused.
"""

from __future__ import annotations

from collections.abc import Sequence

from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import short
from swarmd.protocols.statements import StageAssignment
from swarmd.scheduler.credit import planned_credit
from swarmd.scheduler.partition import Partition, partition
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile

Team = tuple[WorkerProfile, ...]


def teams_of(workers: Sequence[WorkerProfile], lanes: int) -> tuple[Team, ...]:
    """Teams of ``lanes`` peers, the fastest first; the slowest peers that make no team are left out.

    Raises RunFailed where there are too few peers for one.
    """
    if len(workers) < lanes:
        raise RunFailed(
            f"{lanes} replicas train apart in every stage, and {len(workers)} usable peers are here",
            hint="start more peers, or lower replicas under [averaging]",
        )
    ranked = sorted(workers, key=lambda each: (each.seconds_per_layer, each.peer))
    whole = len(ranked) - len(ranked) % lanes
    return tuple(tuple(ranked[at : at + lanes]) for at in range(0, whole, lanes))


def as_one(team: Team) -> WorkerProfile:
    """A team as the planner takes a peer, under its first member's id."""
    uplinks = [each.uplink_bytes_per_s for each in team if each.uplink_bytes_per_s]
    return WorkerProfile(
        peer=team[0].peer,
        seconds_per_layer=max(each.seconds_per_layer for each in team),
        seconds_embed=max(each.seconds_embed for each in team),
        seconds_head=max(each.seconds_head for each in team),
        memory_bytes=min(each.memory_bytes for each in team),
        uplink_bytes_per_s=min(uplinks, default=0.0),
        numerics=team[0].numerics,
    )


def plan_apart(
    workers: Sequence[WorkerProfile],
    model: ModelProfile,
    *,
    lanes: int,
    most_held: int,
    min_stages: int = 1,
    max_stages: int | None = None,
) -> tuple[tuple[StageAssignment, ...], tuple[str, ...]]:
    """Places without addresses, and why each stage is where it is, for each place. Raises RunFailed."""
    teams = {team[0].peer: team for team in teams_of(workers, lanes)}
    chosen = partition([as_one(team) for team in teams.values()], model, min_stages=min_stages, max_stages=max_stages)
    places: list[StageAssignment] = []
    reasons: list[str] = []
    for number, stage in enumerate(chosen.stages):
        team = teams[stage.peer]
        names = ", ".join(short(each.peer) for each in team[1:])
        for peer in sorted(each.peer for each in team):
            credit = _credit(number, chosen, most_held)
            places.append(StageAssignment(peer, stage.first, stage.end, credit, (), service=1))
            reasons.append(f"{stage.reason}; trains apart with {names}")
    return tuple(places), tuple(reasons)


def _credit(number: int, chosen: Partition, most_held: int) -> int:
    stage, count = chosen.stages[number], len(chosen.stages)
    return min(most_held, planned_credit(number, count, seconds=stage.seconds, period=chosen.bottleneck_seconds))
