"""The coordinator's mind: what to do next, from what it knows of a run (``runstate``).

``apply`` takes an event in; ``plan`` says, from the state and the time, which actions are due. Neither
waits nor sends. Members that hold no stage in the plan are released when it is made, but for spares.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId, short
from swarmd.scheduler.losses import STANDING_STILL, lose, lose_silent
from swarmd.scheduler.mending import common_version
from swarmd.scheduler.pulse import Pulse
from swarmd.scheduler.runstate import (
    FINAL,
    Action,
    Dismiss,
    Ended,
    Event,
    Funded,
    Gather,
    Lost,
    MakePlan,
    Mend,
    Moved,
    Phase,
    Planned,
    Refusal,
    RunState,
    Said,
    Standing,
    Stood,
    Tell,
)

FUNDING_WORDS = "waits until the committee has certified the credits set aside for its stages"
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
            return state.heard_from(peer, now)
        case Moved(peer, standing):
            stale = state.phase in STANDING_STILL and peer in state.stages  # said before it was asked to
            return (state if stale else state.moved((peer,), standing)).heard_from(peer, now)
        case Refusal(peer, reason):
            left = state.moved((peer,), Standing.OUT)
            return replace(left, declined=(*state.declined, f"{short(peer)}: {reason}"))
        case Lost(peer, reason, code):
            return lose(state, peer, reason, code)
        case Planned():
            return _planned(state, event)
        case Stood(peer, version, oldest):
            halted = tuple(each for each in state.halted if each[0] != peer)
            return replace(state, halted=(*halted, (peer, version, oldest))).heard_from(peer, now)
        case Funded():
            return replace(state, funded=True)
        case _:
            return replace(state, phase=event.phase, since=now, code=event.code, reason=event.reason)


def plan(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    """What is due now, and the state in which it has been asked for."""
    state = lose_silent(state, now)
    match state.phase:
        case Phase.RECRUITING:
            return _recruit(state, now)
        case Phase.PLANNING if state.stages:
            return _load(state, now)
        case Phase.FUNDING if state.funded:
            return _enter(Phase.CONNECTING, replace(state, reason=""), now)
        case Phase.MENDING:
            halting = replace(state, phase=Phase.HALTING, since=now, halts=state.halts + 1, halted=())
            return halting, (Tell(Phase.HALTING, state.stages),)
        case Phase.HALTING:
            return _stand_still(state, now)
        case phase if phase in _DONE_AT:
            return _together(state, now)
        case _:
            return _overdue(state, now), ()


def _together(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    """The next phase, once every member that takes part has done its own."""
    wanted, following = _DONE_AT[state.phase]
    if all(state.standing(peer) is wanted for peer in state.taking_part):
        return _enter(following, state, now)
    new = tuple(peer for peer in state.at(Standing.ACCEPTED) if state.phase is Phase.TRAINING)
    actions = (Tell(Phase.PROBING, new),) if new else ()
    return _overdue(state.moved(new, Standing.PROBING), now), actions


def _recruit(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    accepted, unanswered = state.at(Standing.ACCEPTED), state.at(Standing.OFFERED)
    waiting = bool(unanswered) or state.more_to_come
    patience = state.patience.recruit_seconds if waiting else state.patience.settle_seconds
    out_of_time = now - state.since >= patience
    if len(accepted) >= state.min_stages and (not unanswered or out_of_time):
        entered = replace(state.moved(unanswered, Standing.OUT), phase=Phase.PROBING, since=now)
        return entered, (Dismiss(unanswered), Tell(Phase.PROBING, accepted))
    if out_of_time:
        return _short_of_members(state, len(accepted), now), ()
    return state, ()


def _planned(state: RunState, event: Planned) -> RunState:
    """A plan whose peers are all still there; else another one is due."""
    if any(state.standing(peer) is Standing.OUT for peer in event.stages):
        others = tuple(peer for peer, standing in state.members if standing is not Standing.PROBED)
        return replace(state.moved(others, Standing.OUT), phase=Phase.PROBING)
    return replace(
        state,
        stages=event.stages,
        numbers=event.numbers,
        funded=event.funded,
        mends=event.mends,
        replans=event.replans,
        spares=event.spares,
    )


def _load(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    entered, actions = _enter(Phase.LOADING, state, now)
    left_out = state.ready[state.spares :]
    return entered.moved(left_out, Standing.OUT), (Dismiss(left_out), *actions)


def _stand_still(state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    """Once all stand still they go on from the newest version that all have, or are planned for anew."""
    halted = {peer: versions for peer, *versions in state.halted}
    if any(peer not in halted for peer in state.stages):
        return _overdue(state, now), ()
    state = state.moved(state.stages, Standing.PROBED)
    version = None if state.anew else common_version((halted[peer][0], halted[peer][1]) for peer in state.stages)
    if version is not None:
        entered, actions = _enter(Phase.LOADING, state, now)
        return entered, (Mend(state.stages, version), *actions)
    if state.replans:
        return _enter(Phase.PLANNING, replace(state, stages=(), numbers=(), anew=False), now)
    reason = f"{state.reason}; the others have no version in common"
    return replace(state, phase=Phase.FAILED, code=PeerLost.code, reason=reason), ()


def _short_of_members(state: RunState, accepted: int, now: float) -> RunState:
    asked = f"{state.min_stages} stage{'s' if state.min_stages > 1 else ''} ([run] min_stages)"
    why = "; ".join(state.declined) or "no other peer is here"
    code = "refused" if state.declined else "run_failed"
    return apply(
        Ended(Phase.FAILED, code, f"the job asks for {asked}, and {accepted} of the peers took it: {why}"), state, now
    )


def _enter(phase: Phase, state: RunState, now: float) -> tuple[RunState, tuple[Action, ...]]:
    entered = replace(state, phase=phase, since=now, reason="" if phase is Phase.TRAINING else state.reason)
    match phase:
        case Phase.PLANNING:
            return entered, (MakePlan(state.at(Standing.PROBED), state.halts > 0),)
        case Phase.GATHERING:
            return entered, (Gather(),)
        case Phase.FUNDING if state.funded:
            return _enter(Phase.CONNECTING, state, now)
        case Phase.FUNDING:
            return replace(entered, reason=FUNDING_WORDS), ()
        case _:
            return entered, (Tell(phase, state.stages),)


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
