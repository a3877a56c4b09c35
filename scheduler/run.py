"""The coordinator's mind: what it knows of a run, and what to do next.

``apply`` takes an event in; ``plan`` says, from the state and the time, which actions are due. Neither
waits nor sends. A run passes through the phases in this order; each ends when every member did its part:

    phase        every member ...                    ends at the latest after
    RECRUITING   accepted or declined the offer      recruit_seconds
    PROBING      timed the probe micro-batch         probe_seconds
    PLANNING     (the planner runs)
    LOADING      built its stage                     load_seconds
    FUNDING      (credits are set aside for them)    fund_seconds; over at once if none need be
    CONNECTING   has links to its neighbours         connect_seconds
    TRAINING     committed the last step             (one that is silent is lost: ``scheduler.pulse``)
    MENDING      (a replica was lost)
    HALTING      stands still                        halt_seconds; then LOADING follows, with the same term
    GATHERING    gave its units to the coordinator   gather_seconds
    DONE | FAILED | STOPPED

Members that hold no stage in the plan are released when it is made. A member lost while it trains is mended where
another replica holds its stage; else it ends this term of the run. One lost before that is left out, as long as enough
others stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeAlias

from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId, short
from swarmd.scheduler.mending import common_version, covers
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


ASLEEP_SECONDS = 1.0
"""``plan`` is asked more often than this, unless its process stands still."""
FUNDING_WORDS = "waits until the committee has certified the credits set aside for its stages"
FINAL = frozenset({Phase.DONE, Phase.FAILED, Phase.STOPPED})


class Standing(Enum):
    """How far a member is."""

    OFFERED = auto()
    ACCEPTED = auto()
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
    """Run the planner over these members' profiles."""

    peers: tuple[PeerId, ...]


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

# Standing at which a member has done its part, and the phase that follows.
_DONE_AT = {
    Phase.PROBING: (Standing.PROBED, Phase.PLANNING),
    Phase.LOADING: (Standing.READY, Phase.FUNDING),
    Phase.CONNECTING: (Standing.CONNECTED, Phase.TRAINING),
    Phase.TRAINING: (Standing.FINISHED, Phase.GATHERING),
}


_STANDING_STILL = frozenset({Phase.MENDING, Phase.HALTING})
_UNDER_WAY = _STANDING_STILL | {Phase.TRAINING}
_AGAIN = frozenset({Phase.LOADING, Phase.FUNDING, Phase.CONNECTING})
"""Phases that follow a halt once more."""


def offer(state: RunState, peers: Iterable[PeerId], now: float, *, more_to_come: bool = False) -> RunState:
    """Peers that were sent the offer join as OFFERED. ``more_to_come``: others are known, and not ready for it yet."""
    known = {peer for peer, _ in state.members}
    new = tuple((peer, Standing.OFFERED) for peer in peers if peer not in known)
    state = replace(state, more_to_come=more_to_come)
    return replace(state, members=state.members + new, heard=state.heard + tuple((peer, Pulse(now)) for peer, _ in new))


def forget(state: RunState, peer: PeerId) -> RunState:
    """Without this member: as if it had never been asked."""
    members = tuple(each for each in state.members if each[0] != peer)
    return replace(state, members=members, heard=tuple(each for each in state.heard if each[0] != peer))


def apply(event: Event, state: RunState, now: float) -> RunState:
    """The state after an event. A run that is over stays as it is."""
    if state.phase in FINAL:
        return state
    match event:
        case Said(peer):
            return _hear(state, peer, now)
        case Moved(peer, standing):
            if state.phase in _STANDING_STILL and standing is not Standing.OUT:  # said before it was asked to
                return _hear(state, peer, now)
            return _hear(_move(state, peer, standing), peer, now)
        case Refusal(peer, reason):
            return replace(_move(state, peer, Standing.OUT), declined=(*state.declined, f"{short(peer)}: {reason}"))
        case Lost(peer, reason, code):
            return _lose(state, peer, reason, code)
        case Planned(stages, funded, numbers, mends):
            return replace(state, stages=stages, funded=funded, numbers=numbers, mends=mends)
        case Stood(peer, version, oldest):
            halted = tuple(each for each in state.halted if each[0] != peer)
            return _hear(replace(state, halted=(*halted, (peer, version, oldest))), peer, now)
        case Funded():
            return replace(state, funded=True)
        case _:
            return replace(state, phase=event.phase, since=now, code=event.code, reason=event.reason)


def plan(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    """What is due now, and the state in which it has been asked for."""
    state = _silent(_awake(state, now), now)
    if state.phase is Phase.RECRUITING:
        return _recruit(state, now)
    if state.phase is Phase.PLANNING and state.stages:
        return _load(state, now)
    if state.phase is Phase.FUNDING and state.funded:
        return _enter(Phase.CONNECTING, replace(state, reason=""), now)
    if state.phase is Phase.MENDING:
        halting = replace(state, phase=Phase.HALTING, since=now, halts=state.halts + 1, halted=())
        return halting, (Tell(Phase.HALTING, state.stages),)
    if state.phase is Phase.HALTING:
        return _stand_still(state, now)
    if state.phase not in _DONE_AT:
        return _overdue(state, now), ()
    wanted, following = _DONE_AT[state.phase]
    waiting = [peer for peer in _taking_part(state) if state.standing(peer) is not wanted]
    if not waiting:
        return _enter(following, state, now)
    return _overdue(state, now), ()


def _recruit(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    accepted, unanswered = state.at(Standing.ACCEPTED), state.at(Standing.OFFERED)
    waiting = bool(unanswered) or state.more_to_come
    patience = state.patience.recruit_seconds if waiting else state.patience.settle_seconds
    out_of_time = now - state.since >= patience
    if len(accepted) >= state.min_stages and (not unanswered or out_of_time):
        entered = replace(state, phase=Phase.PROBING, since=now)
        return entered, (Dismiss(unanswered), Tell(Phase.PROBING, accepted))
    if out_of_time:
        return _short_of_members(state, len(accepted), now), ()
    return state, ()


def _load(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    entered, actions = _enter(Phase.LOADING, state, now)
    spare = tuple(peer for peer in state.at(Standing.PROBED) if peer not in state.stages)
    return entered, (Dismiss(spare), *actions)


def _stand_still(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    """Once all stand still they go on from the newest version that all have."""
    halted = {peer: versions for peer, *versions in state.halted}
    if any(peer not in halted for peer in state.stages):
        return _overdue(state, now), ()
    version = common_version((halted[peer][0], halted[peer][1]) for peer in state.stages)
    if version is None:
        reason = f"{state.reason}; the others have no version in common"
        return replace(state, phase=Phase.FAILED, code=PeerLost.code, reason=reason), ()
    for peer in state.stages:
        state = _move(state, peer, Standing.PROBED)
    entered, actions = _enter(Phase.LOADING, state, now)
    return entered, (Mend(state.stages, version), *actions)


def _short_of_members(state: RunState, accepted: int, now: float) -> RunState:
    asked = f"{state.min_stages} stage{'s' if state.min_stages > 1 else ''} ([run] min_stages)"
    why = "; ".join(state.declined) or "no other peer is here"
    code = "refused" if state.declined else "run_failed"
    return apply(
        Ended(Phase.FAILED, code, f"the job asks for {asked}, and {accepted} of the peers took it: {why}"), state, now
    )


def _enter(phase: Phase, state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    entered = replace(state, phase=phase, since=now, reason="" if phase is Phase.TRAINING else state.reason)
    if phase is Phase.PLANNING:
        return entered, (MakePlan(state.at(Standing.PROBED)),)
    if phase is Phase.GATHERING:
        return entered, (Gather(),)
    if phase is Phase.FUNDING:
        return _enter(Phase.CONNECTING, state, now) if state.funded else (replace(entered, reason=FUNDING_WORDS), ())
    return entered, (Tell(phase, state.stages),)


def _taking_part(state: RunState) -> tuple[PeerId, ...]:
    if state.stages:
        return state.stages
    return tuple(peer for peer, standing in state.members if standing is not Standing.OUT)


def _move(state: RunState, peer: PeerId, standing: Standing) -> RunState:
    members = tuple((each, standing if each == peer else old) for each, old in state.members)
    return replace(state, members=members)


def _hear(state: RunState, peer: PeerId, now: float) -> RunState:
    heard = tuple((each, pulse.heard(now) if each == peer else pulse) for each, pulse in state.heard)
    return replace(state, heard=heard)


def _lose(state: RunState, peer: PeerId, reason: str, code: str = PeerLost.code) -> RunState:
    finished = state.phase is Phase.GATHERING
    if peer in state.stages and not finished:
        return _lose_place(state, state.stages.index(peer), reason, code)
    left = _move(state, peer, Standing.OUT)
    remaining = len(_taking_part(left))
    if state.stages or state.phase is Phase.RECRUITING or remaining >= state.min_stages:
        return left
    return replace(left, phase=Phase.FAILED, code=code, reason=f"{short(peer)} was lost: {reason}")


def _lose_place(state: RunState, place: int, reason: str, code: str) -> RunState:
    numbers = state.numbers or tuple(range(len(state.stages)))
    words = f"stage {numbers[place]} was lost: {short(state.stages[place])}: {reason}"
    left = numbers[:place] + numbers[place + 1 :]
    under_way = state.phase in _UNDER_WAY or (state.halts and state.phase in _AGAIN)
    if not (state.mends and under_way and covers(numbers, left)) or code != PeerLost.code:
        return replace(state, phase=Phase.FAILED, code=code, reason=words)
    phase = Phase.HALTING if state.phase is Phase.HALTING else Phase.MENDING
    stages = state.stages[:place] + state.stages[place + 1 :]
    state = _move(state, state.stages[place], Standing.OUT)
    return replace(state, phase=phase, stages=stages, numbers=left, reason=words)


def _silent(state: RunState, now: float) -> RunState:
    if state.phase in FINAL or state.phase is Phase.RECRUITING or state.phase is Phase.GATHERING:
        return state
    patience = state.patience
    least = patience.silence_seconds if state.phase in _UNDER_WAY else patience.most_silence_seconds
    for peer, pulse in state.heard:
        if peer in _taking_part(state) and pulse.silent(now, least, patience.most_silence_seconds):
            state = _lose(state, peer, f"no heartbeat for {now - pulse.last:.0f} s")
    return state


def _awake(state: RunState, now: float) -> RunState:
    """A coordinator that was frozen itself has not listened, so nobody was silent meanwhile."""
    if state.phase in FINAL:
        return state
    slept = now - (now if state.looked is None else state.looked)
    state = replace(state, looked=now)
    if slept < ASLEEP_SECONDS:
        return state
    return replace(state, heard=tuple((peer, pulse.excused(slept)) for peer, pulse in state.heard))


def _overdue(state: RunState, now: float) -> RunState:
    limits = {
        Phase.PROBING: state.patience.probe_seconds,
        Phase.LOADING: state.patience.load_seconds,
        Phase.FUNDING: state.patience.fund_seconds,
        Phase.CONNECTING: state.patience.connect_seconds,
        Phase.HALTING: state.patience.halt_seconds,
        Phase.GATHERING: state.patience.gather_seconds,
    }
    limit = limits.get(state.phase)
    if limit is None or now - state.since < limit:
        return state
    reason = f"{state.phase.name.lower()} took longer than {limit:.0f} s"
    return apply(Ended(Phase.FAILED, "timed_out", reason), state, now)
