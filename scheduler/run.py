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
    TRAINING     committed the last step             (a member silent for silence_seconds is lost)
    GATHERING    gave its units to the coordinator   gather_seconds
    DONE | FAILED | STOPPED

Members that hold no stage in the plan are released when it is made. A member lost while it holds a
stage ends this term of the run; before that it is left out, as long as enough others stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import TypeAlias

from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId, short


class Phase(Enum):
    """Where a run is."""

    RECRUITING = auto()
    PROBING = auto()
    PLANNING = auto()
    LOADING = auto()
    FUNDING = auto()
    CONNECTING = auto()
    TRAINING = auto()
    GATHERING = auto()
    DONE = auto()
    FAILED = auto()
    STOPPED = auto()


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
    gather_seconds: float = 600.0
    silence_seconds: float = 8.0


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
    funded: bool = True
    """Credits for every paid stage are set aside."""
    heard: tuple[tuple[PeerId, float], ...] = ()
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


@dataclass(frozen=True, slots=True)
class Funded:
    """Credits for every paid stage are set aside."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The run is over for a reason outside the members: gathered, stopped by its user, or impossible."""

    phase: Phase
    code: str = ""
    reason: str = ""


Event: TypeAlias = Moved | Said | Refusal | Lost | Planned | Funded | Ended


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
class Dismiss:
    """Release these members; they hold no stage."""

    peers: tuple[PeerId, ...]


@dataclass(frozen=True, slots=True)
class Gather:
    """Fetch what is still missing and write the model."""


Action: TypeAlias = Tell | MakePlan | Dismiss | Gather

# Standing at which a member has done its part, and the phase that follows.
_DONE_AT = {
    Phase.PROBING: (Standing.PROBED, Phase.PLANNING),
    Phase.LOADING: (Standing.READY, Phase.FUNDING),
    Phase.CONNECTING: (Standing.CONNECTED, Phase.TRAINING),
    Phase.TRAINING: (Standing.FINISHED, Phase.GATHERING),
}


def offer(state: RunState, peers: Iterable[PeerId], now: float, *, more_to_come: bool = False) -> RunState:
    """Peers that were sent the offer join as OFFERED. ``more_to_come``: others are known, and not ready for it yet."""
    known = {peer for peer, _ in state.members}
    new = tuple((peer, Standing.OFFERED) for peer in peers if peer not in known)
    state = replace(state, more_to_come=more_to_come)
    return replace(state, members=state.members + new, heard=state.heard + tuple((peer, now) for peer, _ in new))


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
            return _hear(_move(state, peer, standing), peer, now)
        case Refusal(peer, reason):
            return replace(_move(state, peer, Standing.OUT), declined=(*state.declined, f"{short(peer)}: {reason}"))
        case Lost(peer, reason, code):
            return _lose(state, peer, reason, code)
        case Planned(stages, funded, numbers):
            return replace(state, stages=stages, funded=funded, numbers=numbers)
        case Funded():
            return replace(state, funded=True)
        case _:
            return replace(state, phase=event.phase, since=now, code=event.code, reason=event.reason)


def plan(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    """What is due now, and the state in which it has been asked for."""
    state = _silent(state, now)
    if state.phase is Phase.RECRUITING:
        return _recruit(state, now)
    if state.phase is Phase.PLANNING and state.stages:
        return _load(state, now)
    if state.phase is Phase.FUNDING and state.funded:
        return _enter(Phase.CONNECTING, replace(state, reason=""), now)
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


def _short_of_members(state: RunState, accepted: int, now: float) -> RunState:
    asked = f"{state.min_stages} stage{'s' if state.min_stages > 1 else ''} ([run] min_stages)"
    why = "; ".join(state.declined) or "no other peer is here"
    code = "refused" if state.declined else "run_failed"
    return apply(
        Ended(Phase.FAILED, code, f"the job asks for {asked}, and {accepted} of the peers took it: {why}"), state, now
    )


def _enter(phase: Phase, state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    entered = replace(state, phase=phase, since=now)
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
    return replace(state, heard=tuple((each, now if each == peer else then) for each, then in state.heard))


def _lose(state: RunState, peer: PeerId, reason: str, code: str = PeerLost.code) -> RunState:
    finished = state.phase is Phase.GATHERING
    if peer in state.stages and not finished:
        place = state.stages.index(peer)
        stage = state.numbers[place] if state.numbers else place
        words = f"stage {stage} was lost: {short(peer)}: {reason}"
        return replace(state, phase=Phase.FAILED, code=code, reason=words)
    left = _move(state, peer, Standing.OUT)
    remaining = len(_taking_part(left))
    if state.stages or state.phase is Phase.RECRUITING or remaining >= state.min_stages:
        return left
    return replace(left, phase=Phase.FAILED, code=code, reason=f"{short(peer)} was lost: {reason}")


def _silent(state: RunState, now: float) -> RunState:
    if state.phase in FINAL or state.phase is Phase.RECRUITING or state.phase is Phase.GATHERING:
        return state
    for peer, then in state.heard:
        if peer in _taking_part(state) and now - then > state.patience.silence_seconds:
            state = _lose(state, peer, f"no heartbeat for {now - then:.0f} s")
    return state


def _overdue(state: RunState, now: float) -> RunState:
    limits = {
        Phase.PROBING: state.patience.probe_seconds,
        Phase.LOADING: state.patience.load_seconds,
        Phase.FUNDING: state.patience.fund_seconds,
        Phase.CONNECTING: state.patience.connect_seconds,
        Phase.GATHERING: state.patience.gather_seconds,
    }
    limit = limits.get(state.phase)
    if limit is None or now - state.since < limit:
        return state
    reason = f"{state.phase.name.lower()} took longer than {limit:.0f} s"
    return apply(Ended(Phase.FAILED, "timed_out", reason), state, now)
