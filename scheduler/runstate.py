"""What the coordinator of a run knows, what it is told, and what it can do.

A run passes through the phases in this order; each ends when every member did its part:

    phase        every member ...                    ends at the latest after
    RECRUITING   accepted or declined the offer      recruit_seconds
    PROBING      timed the probe micro-batch         probe_seconds
    PLANNING     (the planner runs)
    LOADING      built its stage                     load_seconds
    FUNDING      (credits are set aside for them)    fund_seconds; over at once if none need be
    CONNECTING   has links to its neighbours         connect_seconds
    TRAINING     committed the last step             (one that is silent is lost: ``scheduler.pulse``)
    GATHERING    gave its units to the coordinator   gather_seconds
    DONE | FAILED | STOPPED

When a stage is lost in TRAINING, and whoever is left is enough, the term goes on by way of

    MENDING      (the others are asked to stand still)
    HALTING      stands still                        halt_seconds

and from there with LOADING, if other replicas hold what was lost, else with PLANNING.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeAlias

from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId
from swarmd.scheduler.pulse import Pulse


class Phase(Enum):
    """Where a run is."""

    RECRUITING = auto()
    PROBING = auto()
    PLANNING = auto()
    LOADING = auto()
    FUNDING = auto()
    CONNECTING = auto()
    TRAINING = auto()
    MENDING = auto()
    HALTING = auto()
    GATHERING = auto()
    DONE = auto()
    FAILED = auto()
    STOPPED = auto()


FINAL = frozenset({Phase.DONE, Phase.FAILED, Phase.STOPPED})


class Standing(Enum):
    """How far a member is."""

    OFFERED = auto()
    ACCEPTED = auto()
    PROBING = auto()
    """Of spares: they are asked while others train."""
    PROBED = auto()
    READY = auto()
    CONNECTED = auto()
    FINISHED = auto()
    OUT = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """How long each phase may take, in seconds."""

    recruit_seconds: float = 15.0
    settle_seconds: float = 3.0
    """When every peer has answered and too few have agreed: how long to look for more."""
    probe_seconds: float = 120.0
    load_seconds: float = 300.0
    fund_seconds: float = 300.0
    connect_seconds: float = 60.0
    halt_seconds: float = 20.0
    gather_seconds: float = 600.0
    silence_seconds: float = 2.0
    """Of a stage that trains, on a good link."""
    most_silence_seconds: float = 8.0
    """Of any member, on any link."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunState:
    """What the coordinator knows."""

    phase: Phase
    since: float
    """When the phase began."""
    min_stages: int
    members: tuple[tuple[PeerId, Standing], ...] = ()
    stages: tuple[PeerId, ...] = ()
    """Holders of the plan's places in order, once planned."""
    numbers: tuple[int, ...] = ()
    """The stage of each place; empty where a place is a stage."""
    mends: bool = False
    """The term goes on when a replica is lost."""
    replans: bool = False
    """It goes on with another plan, from the newest checkpoint, when a stage is lost."""
    spares: int = 0
    """Members without a stage to keep ready for that."""
    anew: bool = False
    """Once all stand still, another plan is made."""
    halts: int = 0
    """Times that the stages were asked to stand still."""
    halted: tuple[tuple[PeerId, int, int], ...] = ()
    """Who stands still, its version, and the oldest it can go back to."""
    funded: bool = True
    """Credits for every paid stage are set aside."""
    heard: tuple[tuple[PeerId, Pulse], ...] = ()
    looked: float | None = None
    """When ``plan`` was last asked."""
    more_to_come: bool = False
    """Peers are known that cannot be asked yet: their devices are still being probed."""
    reason: str = ""
    code: str = ""
    declined: tuple[str, ...] = ()
    """Why peers said no, in words."""
    patience: Patience = field(default_factory=Patience)

    def standing(self, peer: PeerId) -> Standing:
        """How far a member is; OUT for a stranger."""
        return dict(self.members).get(peer, Standing.OUT)

    def at(self, standing: Standing) -> tuple[PeerId, ...]:
        """Members at exactly this standing, in the order they were met."""
        return tuple(peer for peer, each in self.members if each is standing)

    @property
    def taking_part(self) -> tuple[PeerId, ...]:
        """Holders of the plan's places; before it is made, all members."""
        return self.stages or tuple(peer for peer, standing in self.members if standing is not Standing.OUT)

    @property
    def ready(self) -> tuple[PeerId, ...]:
        """Spares that could be given a stage now."""
        return tuple(peer for peer in self.at(Standing.PROBED) if peer not in self.stages)

    @property
    def spares_wanted(self) -> int:
        """How many more peers should be asked to be spares."""
        if self.phase is not Phase.TRAINING:
            return 0
        kept = [each for peer, each in self.members if peer not in self.stages and each is not Standing.OUT]
        return max(0, self.spares - len(kept))

    def moved(self, peers: tuple[PeerId, ...], standing: Standing) -> RunState:
        """With these members at this standing."""
        return replace(self, members=tuple((each, standing if each in peers else old) for each, old in self.members))

    def heard_from(self, peer: PeerId, now: float) -> RunState:
        """A member gave a sign of life."""
        return replace(
            self, heard=tuple((each, pulse.heard(now) if each == peer else pulse) for each, pulse in self.heard)
        )


# --- events


@dataclass(frozen=True, slots=True)
class Moved:
    """A member did its part and stands here now."""

    peer: PeerId
    standing: Standing


@dataclass(frozen=True, slots=True)
class Said:
    """A member gave a sign of life."""

    peer: PeerId


@dataclass(frozen=True, slots=True)
class Refusal:
    """A peer declined the offer."""

    peer: PeerId
    reason: str


@dataclass(frozen=True, slots=True)
class Lost:
    """A member is gone or cannot go on."""

    peer: PeerId
    reason: str
    code: str = PeerLost.code
    """``run_failed``: what it found would be found again by any other."""


@dataclass(frozen=True, slots=True)
class Planned:
    """The planner put these peers in this order."""

    stages: tuple[PeerId, ...]
    funded: bool = True
    """No stage is paid; else ``Funded`` follows."""
    numbers: tuple[int, ...] = ()
    """The stage of each place; empty where a place is a stage."""
    mends: bool = False
    """The plan can be mended (``scheduler.mending``)."""
    replans: bool = False
    """Another one can follow in the same term."""
    spares: int = 0
    """Members without a stage to keep ready for that."""


@dataclass(frozen=True, slots=True)
class Stood:
    """A member stands still at this version, and can go back to ``oldest``."""

    peer: PeerId
    version: int
    oldest: int


@dataclass(frozen=True, slots=True)
class Funded:
    """Credits for every paid stage are set aside."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over for a reason outside the members: gathered, stopped by its user, or impossible."""

    phase: Phase
    code: str = ""
    reason: str = ""


Event: TypeAlias = Moved | Said | Refusal | Lost | Planned | Stood | Funded | Ended


# --- actions


@dataclass(frozen=True, slots=True)
class Tell:
    """Send the message that begins a phase to these members."""

    phase: Phase
    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class MakePlan:
    """Run the planner over these members' profiles; ``anew``: from the newest checkpoint."""

    peers: tuple[PeerId, ...]
    anew: bool = False


@dataclass(frozen=True, slots=True)
class Mend:
    """Make the term's next plan: these members go on from this version."""

    peers: tuple[PeerId, ...]
    version: int


@dataclass(frozen=True, slots=True)
class Dismiss:
    """Release these members; they hold no stage."""

    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """Fetch what is still missing and write the model."""


Action: TypeAlias = Tell | MakePlan | Mend | Dismiss | Gather
