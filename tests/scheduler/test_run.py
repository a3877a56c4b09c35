"""The coordinator's mind: phases follow from what members did, and from time."""

from __future__ import annotations

from swarmd.protocols.ids import PeerId
from swarmd.scheduler.run import (
    Dismiss,
    Ended,
    Event,
    Funded,
    Gather,
    Lost,
    MakePlan,
    Moved,
    Phase,
    Planned,
    Refusal,
    RunState,
    Said,
    Standing,
    Tell,
    apply,
    offer,
    plan,
)

A, B, C = PeerId("peer-a"), PeerId("peer-b"), PeerId("peer-c")


def begin(*peers: PeerId, min_stages: int = 1) -> RunState:
    return offer(RunState(phase=Phase.RECRUITING, since=0.0, min_stages=min_stages), peers, 0.0)


def after(state: RunState, *events: Event, now: float = 0.0) -> RunState:
    for event in events:
        state = apply(event, state, now)
    return state


def moved(standing: Standing, *peers: PeerId) -> tuple[Event, ...]:
    return tuple(Moved(peer, standing) for peer in peers)


def training(*peers: PeerId) -> RunState:
    state = after(begin(*peers), *moved(Standing.ACCEPTED, *peers))
    state, _ = plan(state, 0.0)
    state, _ = plan(after(state, *moved(Standing.PROBED, *peers)), 0.0)
    state, _ = plan(after(state, Planned(peers)), 0.0)
    state, _ = plan(after(state, *moved(Standing.READY, *peers)), 0.0)
    state, actions = plan(after(state, *moved(Standing.CONNECTED, *peers)), 0.0)
    assert actions == (Tell(Phase.TRAINING, peers),)
    return state


def test_a_lost_replica_is_told_by_its_stage() -> None:
    state = after(training(A, B, C), Planned((A, B, C), numbers=(0, 1, 1)), Lost(C, "gone"))
    assert (state.phase, state.reason) == (Phase.FAILED, "stage 1 was lost: peer-c: gone")


def test_recruiting_waits_until_every_peer_has_answered() -> None:
    state, actions = plan(after(begin(A, B), Moved(A, Standing.ACCEPTED)), 1.0)
    assert (state.phase, actions) == (Phase.RECRUITING, ())
    state, actions = plan(after(state, Refusal(B, "only its own jobs")), 1.0)
    assert state.phase is Phase.PROBING
    assert actions == (Dismiss(()), Tell(Phase.PROBING, (A,)))


def test_a_silent_peer_is_left_out_when_recruiting_ends() -> None:
    state, actions = plan(after(begin(A, B), Moved(A, Standing.ACCEPTED)), 15.0)
    assert state.phase is Phase.PROBING
    assert actions == (Dismiss((B,)), Tell(Phase.PROBING, (A,)))


def test_a_peer_that_is_not_ready_yet_is_waited_for_as_long_as_one_that_has_not_answered() -> None:
    refused = after(begin(A), Refusal(A, "no room"))
    assert plan(refused, 4.0)[0].phase is Phase.FAILED
    waiting = offer(refused, (), 1.0, more_to_come=True)
    assert plan(waiting, 14.0)[0].phase is Phase.RECRUITING
    assert plan(waiting, 15.0)[0].phase is Phase.FAILED


def test_too_few_members_fail_the_run_with_every_reason() -> None:
    state = after(begin(A, B, min_stages=2), Moved(A, Standing.ACCEPTED), Refusal(B, "no room"))
    state, _ = plan(state, 15.0)
    assert (state.phase, state.code) == (Phase.FAILED, "refused")
    assert state.reason == "the job asks for 2 stages ([run] min_stages), and 1 of the peers took it: peer-b: no room"


def test_nobody_known_is_a_failure_not_a_refusal() -> None:
    state, _ = plan(begin(min_stages=1), 15.0)
    assert (state.phase, state.code) == (Phase.FAILED, "run_failed")
    assert "no other peer is here" in state.reason


def test_the_phases_follow_in_order_to_the_end() -> None:
    state = training(A, B)
    state, actions = plan(after(state, *moved(Standing.FINISHED, A, B)), 5.0)
    assert (state.phase, actions) == (Phase.GATHERING, (Gather(),))
    state = after(state, Ended(Phase.DONE))
    assert plan(state, 99.0) == (state, ())


def test_probing_leads_to_one_request_for_a_plan() -> None:
    state, _ = plan(after(begin(A, B), *moved(Standing.ACCEPTED, A, B)), 0.0)
    state, actions = plan(after(state, *moved(Standing.PROBED, A, B)), 1.0)
    assert actions == (MakePlan((A, B)),)
    assert plan(state, 2.0)[1] == ()


def test_members_without_a_stage_are_dismissed_when_the_plan_is_made() -> None:
    state, _ = plan(after(begin(A, B, C), *moved(Standing.ACCEPTED, A, B, C)), 0.0)
    state, _ = plan(after(state, *moved(Standing.PROBED, A, B, C)), 0.0)
    _, actions = plan(after(state, Planned((C, A))), 0.0)
    assert actions == (Dismiss((B,)), Tell(Phase.LOADING, (C, A)))


def loading(*peers: PeerId, funded: bool) -> RunState:
    state, _ = plan(after(begin(*peers), *moved(Standing.ACCEPTED, *peers)), 0.0)
    state, _ = plan(after(state, *moved(Standing.PROBED, *peers)), 0.0)
    return plan(after(state, Planned(peers, funded=funded)), 0.0)[0]


def test_stages_connect_only_once_the_credits_for_them_are_set_aside() -> None:
    state, actions = plan(after(loading(A, B, funded=False), *moved(Standing.READY, A, B)), 1.0)
    assert (state.phase, actions) == (Phase.FUNDING, ())
    assert "certified" in state.reason
    assert plan(state, 2.0) == (state, ())
    state, actions = plan(after(state, Funded()), 3.0)
    assert (state.phase, state.reason, actions) == (Phase.CONNECTING, "", (Tell(Phase.CONNECTING, (A, B)),))


def test_credits_that_are_set_aside_while_stages_load_hold_nobody_up() -> None:
    state = after(loading(A, funded=False), Funded(), *moved(Standing.READY, A))
    assert plan(state, 1.0)[0].phase is Phase.CONNECTING


def test_credits_that_are_never_set_aside_end_the_run() -> None:
    state, _ = plan(after(loading(A, funded=False), *moved(Standing.READY, A)), 0.0)
    state, _ = plan(after(state, Said(A), now=300.0), 300.0)
    assert (state.phase, state.reason) == (Phase.FAILED, "funding took longer than 300 s")


def test_a_lost_stage_ends_the_run_and_says_which() -> None:
    state = after(training(A, B), Lost(B, "the connection was reset"))
    assert (state.phase, state.code) == (Phase.FAILED, "peer_lost")
    assert state.reason == "stage 1 was lost: peer-b: the connection was reset"


def test_a_member_lost_before_the_plan_is_left_out_while_enough_remain() -> None:
    state, _ = plan(after(begin(A, B), *moved(Standing.ACCEPTED, A, B)), 0.0)
    state = after(state, Lost(B, "gone"), Moved(A, Standing.PROBED))
    assert plan(state, 1.0)[1] == (MakePlan((A,)),)


def test_too_few_left_before_the_plan_end_the_run() -> None:
    state, _ = plan(after(begin(A, B, min_stages=2), *moved(Standing.ACCEPTED, A, B)), 0.0)
    assert after(state, Lost(B, "gone")).phase is Phase.FAILED


def test_silence_while_training_is_a_loss() -> None:
    state = after(training(A, B), Said(A), now=100.0)
    state, _ = plan(state, 100.0)
    assert state.reason == "stage 1 was lost: peer-b: no heartbeat for 100 s"


def test_a_loss_while_gathering_is_not_fatal() -> None:
    state, _ = plan(after(training(A), Moved(A, Standing.FINISHED)), 0.0)
    assert after(state, Lost(A, "gone")).phase is Phase.GATHERING


def test_a_phase_that_takes_too_long_ends_the_run() -> None:
    state, _ = plan(after(begin(A), Moved(A, Standing.ACCEPTED)), 0.0)
    state = after(state, Said(A), now=120.0)
    state, _ = plan(state, 120.0)
    assert (state.phase, state.code) == (Phase.FAILED, "timed_out")
    assert state.reason == "probing took longer than 120 s"


def test_a_run_that_is_over_hears_nothing_more() -> None:
    state = after(training(A), Ended(Phase.STOPPED, "stopped", "by its user"))
    assert after(state, Lost(A, "gone"), Moved(A, Standing.FINISHED)) == state


def test_strangers_stand_outside() -> None:
    assert begin(A).standing(B) is Standing.OUT
