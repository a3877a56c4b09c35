"""What a round came to, in words and numbers that claim no more than was done."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.averaging import Commit, RoundPlan
from swarmd.protocols.errors import RemoteError
from swarmd.protocols.ids import PeerId


class RoundFailed(RemoteError):
    """The round has failed for us: nothing was adopted here."""

    code = "round_failed"


@dataclass(frozen=True, slots=True)
class SliceReport:
    """Values ``first`` to ``end``: who summed them, at which attempt, and whose are in."""

    first: int
    end: int
    owner: PeerId
    attempt: int
    contributors: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class RoundReport:
    """A committed round. Fractions are of values; a slice's contributors are its owner's word."""

    slices: tuple[SliceReport, ...]
    members: tuple[PeerId, ...]
    """Who holds the result."""
    missing: tuple[PeerId, ...]
    """Members of the plan that do not."""
    suspects: tuple[PeerId, ...]
    """Owners of whose result members said different things."""
    contributed: dict[PeerId, float]
    """For each member with a weight, the fraction of its values that is in."""
    fraction: float
    """The fraction of values that are averages over all members with a weight."""
    seconds: float
    bytes_sent: int
    bytes_received: int

    @property
    def complete(self) -> bool:
        """Whether every member holds the result and every member's every value is in."""
        return not self.missing and all(fraction == 1.0 for fraction in self.contributed.values())


def report_of(plan: RoundPlan, commit: Commit, seconds: float, traffic: tuple[int, int]) -> RoundReport:
    """The report of a round that was committed."""
    peers = [seat.peer for seat in plan.seats]
    weighty = [place for place, seat in enumerate(plan.seats) if seat.weight]
    given = dict.fromkeys(weighty, 0)
    slices: list[SliceReport] = []
    full = 0
    for part, outcome in zip(plan.slices(), commit.outcomes, strict=True):
        names = tuple(peers[place] for place in outcome.contributors)
        slices.append(SliceReport(part.first, part.end, peers[outcome.owner], outcome.attempt, names))
        full += (part.end - part.first) * (set(outcome.contributors) == set(weighty))
        for place in outcome.contributors:
            given[place] += part.end - part.first
    return RoundReport(
        slices=tuple(slices),
        members=tuple(peers[place] for place in commit.members),
        missing=tuple(peer for place, peer in enumerate(peers) if place not in commit.members),
        suspects=tuple(peers[place] for place in commit.suspects),
        contributed={peers[place]: count / plan.values for place, count in given.items()},
        fraction=full / plan.values,
        seconds=seconds,
        bytes_sent=traffic[0],
        bytes_received=traffic[1],
    )
