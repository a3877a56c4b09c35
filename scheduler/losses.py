"""What a lost member means for a run: left out, replaced within the term, or the end of it."""

from __future__ import annotations

from dataclasses import replace

from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId, short
from swarmd.scheduler.mending import covers
from swarmd.scheduler.runstate import FINAL, Phase, RunState, Standing

ASLEEP_SECONDS = 1.0
"""``silent`` is asked more often than this, unless its process stands still."""
STANDING_STILL = frozenset({Phase.MENDING, Phase.HALTING})
_UNDER_WAY = STANDING_STILL | {Phase.TRAINING}
_AGAIN = frozenset({Phase.LOADING, Phase.FUNDING, Phase.CONNECTING})
"""Phases that follow a halt once more."""
_NOT_LISTENED = FINAL | {Phase.RECRUITING, Phase.GATHERING}


def lose(state: RunState, peer: PeerId, reason: str, code: str = PeerLost.code) -> RunState:
    """The state without a member that is gone or cannot go on."""
    if peer in state.stages and state.phase is not Phase.GATHERING:
        return _lose_place(state, state.stages.index(peer), reason, code)
    left = state.moved((peer,), Standing.OUT)
    enough = len(left.taking_part) >= state.min_stages
    if state.stages or state.phase is Phase.RECRUITING or enough:
        return left
    return replace(left, phase=Phase.FAILED, code=code, reason=f"{short(peer)} was lost: {reason}")


def lose_silent(state: RunState, now: float) -> RunState:
    """The state without the members that have been silent for too long."""
    state = _excused(state, now)
    if state.phase in _NOT_LISTENED:
        return state
    patience, waiting = state.patience, {*state.taking_part, *state.ready}
    least = patience.silence_seconds if state.phase in _UNDER_WAY else patience.most_silence_seconds
    for peer, pulse in state.heard:
        if peer in waiting and pulse.silent(now, least, patience.most_silence_seconds):
            state = lose(state, peer, f"no heartbeat for {now - pulse.last:.0f} s")
    return state


def _excused(state: RunState, now: float) -> RunState:
    """A coordinator that was frozen itself has not listened, so nobody was silent meanwhile."""
    if state.phase in FINAL:
        return state
    slept = now - (now if state.looked is None else state.looked)
    state = replace(state, looked=now)
    if slept < ASLEEP_SECONDS:
        return state
    return replace(state, heard=tuple((peer, pulse.excused(slept)) for peer, pulse in state.heard))


def _lose_place(state: RunState, place: int, reason: str, code: str) -> RunState:
    numbers = state.numbers or tuple(range(len(state.stages)))
    words = f"stage {numbers[place]} was lost: {short(state.stages[place])}: {reason}"
    left = replace(
        state.moved((state.stages[place],), Standing.OUT),
        stages=state.stages[:place] + state.stages[place + 1 :],
        numbers=numbers[:place] + numbers[place + 1 :],
        reason=words,
    )
    under_way = state.phase in _UNDER_WAY or (state.halts > 0 and state.phase in _AGAIN)
    mends = state.mends and not state.anew and covers(numbers, left.numbers)
    replans = state.replans and len(left.stages) + len(left.ready) >= state.min_stages
    if code != PeerLost.code or not (under_way and left.stages and (mends or replans)):
        return replace(left, phase=Phase.FAILED, code=code, stages=state.stages, numbers=state.numbers)
    return replace(left, phase=Phase.HALTING if state.phase is Phase.HALTING else Phase.MENDING, anew=not mends)
