"""A round of averaging: who takes part, who sums which slice, and what the members say to each other.

A round is cut into slices, one for each member that has a share of the summing. Members are named by their
place in the sorted list of the round's seats; place 0 leads. Every message carries the name of the round,
which is a hash of its whole description: members that mean different rounds never mix.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TypeAlias

from swarmd.protocols.ids import PeerId, RunId, tagged_hash
from swarmd.protocols.records import to_value
from swarmd.protocols.registry import Registry

AVERAGING_PROTOCOL = "/swarmd/averaging/1"
LEADER = 0
MAX_SEATS = 64
MAX_WEIGHT = 1 << 20
MAX_VALUES = 1 << 36
MAX_REASON = 200
ALIGNMENT = 64
"""Slices begin at multiples of this, so that no codec's block lies in two slices."""
NAME_BYTES = 32


@dataclass(frozen=True, slots=True)
class Seat:
    """A member of a round."""

    peer: PeerId
    weight: int
    """What its values count; 0 for one that only wants the result."""
    share: int
    """Its part of the summing, in any unit: in proportion to its uplink."""


@dataclass(frozen=True, slots=True)
class Slice:
    """Values ``first`` to ``end``, summed by the member at place ``owner`` unless it fails."""

    number: int
    first: int
    end: int
    owner: int


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round, the same at every member."""

    run: RunId
    term: int
    number: int
    codec: str
    values: int
    seats: tuple[Seat, ...]

    def __post_init__(self) -> None:
        """Raises ValueError for a round nobody can hold."""
        peers = [seat.peer for seat in self.seats]
        if not 1 <= len(peers) <= MAX_SEATS or peers != sorted(set(peers)):
            raise ValueError(f"a round has 1 to {MAX_SEATS} different members, in the order of their peer ids")
        if not all(0 <= number <= MAX_WEIGHT for seat in self.seats for number in (seat.weight, seat.share)):
            raise ValueError(f"weights and shares are 0 to {MAX_WEIGHT}")
        if not any(seat.weight for seat in self.seats) or not any(seat.share for seat in self.seats):
            raise ValueError("a round needs a member with a weight, and one with a share of the summing")
        if not 0 < self.values <= MAX_VALUES or not 0 <= min(self.term, self.number) <= max(self.term, self.number) < (
            1 << 40
        ):
            raise ValueError("a round without values, or with absurd numbers")

    def name(self) -> bytes:
        """A hash of all of the above."""
        return bytes.fromhex(tagged_hash("swarmd/averaging/1", to_value(self)))

    def slices(self) -> tuple[Slice, ...]:
        """The cut: sizes in proportion to the shares, up to ``ALIGNMENT``; members without a share have none."""
        blocks, whole = -(-self.values // ALIGNMENT), sum(seat.share for seat in self.seats)
        edges, given = [0], 0
        for seat in self.seats:
            given += seat.share
            edges.append(min(blocks * given // whole * ALIGNMENT, self.values))
        cuts = [(owner, first, end) for owner, (first, end) in enumerate(pairwise(edges))]
        held = [cut for cut in cuts if cut[1] < cut[2]]
        return tuple(Slice(number, first, end, owner) for number, (owner, first, end) in enumerate(held))


@dataclass(frozen=True, slots=True)
class OpenAveraging:
    """Replica to replica: a ticket for a link to your session, please."""

    run: RunId


@dataclass(frozen=True, slots=True)
class Ready:
    """Member to leader: I have my values, and room for the others'."""

    round: bytes


@dataclass(frozen=True, slots=True)
class Begin:
    """Leader to members: these take part, and these sum the slices."""

    round: bytes
    members: tuple[int, ...]
    owners: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """Owner to member: the bytes that follow are a slice's average over these contributors."""

    round: bytes
    slice: int
    attempt: int
    contributors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Have:
    """Member to leader: I hold this result, with this hash of its bytes on the wire."""

    round: bytes
    slice: int
    attempt: int
    contributors: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Complaint:
    """Member to leader: this result will not come to me, or came with values that cannot be."""

    round: bytes
    slice: int
    attempt: int


@dataclass(frozen=True, slots=True)
class Redo:
    """Leader to members: the slice is summed again, by another member."""

    round: bytes
    slice: int
    attempt: int
    owner: int


@dataclass(frozen=True, slots=True)
class Drop:
    """Leader to members: the round goes on without this one."""

    round: bytes
    member: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one slice came to."""

    owner: int
    attempt: int
    contributors: tuple[int, ...]
    digest: bytes


@dataclass(frozen=True, slots=True)
class Commit:
    """Leader to members: these members all hold exactly these results."""

    round: bytes
    members: tuple[int, ...]
    outcomes: tuple[Outcome, ...]
    suspects: tuple[int, ...]
    """Owners whose results differed from member to member, or that one said so of."""


@dataclass(frozen=True, slots=True)
class Seen:
    """Member to all others: this is the commit that I got, and I hold what it names."""

    round: bytes
    commit: Commit


@dataclass(frozen=True, slots=True)
class Orphan:
    """Member to all others: I lost the leader and have seen no commit."""

    round: bytes


@dataclass(frozen=True, slots=True)
class Abort:
    """From the leader: the round has failed. From a member: it has failed for me."""

    round: bytes
    reason: str

    def __post_init__(self) -> None:
        """Raises ValueError for a reason longer than any honest member's."""
        if len(self.reason) > MAX_REASON:
            raise ValueError(f"a reason has at most {MAX_REASON} characters")


Message: TypeAlias = Ready | Begin | Result | Have | Complaint | Redo | Drop | Commit | Seen | Orphan | Abort
MESSAGES = Registry(Ready, Begin, Result, Have, Complaint, Redo, Drop, Commit, Seen, Orphan, Abort)
MAX_MESSAGE = 32 * 1024
