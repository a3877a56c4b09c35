"""The coordinator's mind: phases follow from what members did, and from time."""

from __future__ import annotations

from dataclasses import replace

from swarmd.protocols.ids import PeerId
from swarmd.scheduler.run import apply, forget, offer, plan
from swarmd.scheduler.runstate import (
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
    state, actions = plan(state, 2.0)
    assert (state.phase, actions) == (Phase.FUNDING, ())
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


def listening(state: RunState, *heard: PeerId, seconds: float) -> RunState:
    """The state after so long, in which only these were heard."""
    began = state.looked or 0.0
    for half in range(1, round(2 * seconds) + 1):
        now = began + half / 2
        state, _ = plan(after(state, *map(Said, heard), now=now), now)
    return state


def test_silence_while_training_is_a_loss() -> None:
    assert listening(training(A, B), A, seconds=2).phase is Phase.TRAINING
    state = listening(training(A, B), A, seconds=3)
    assert state.reason == "stage 1 was lost: peer-b: no heartbeat for 2 s"


def test_before_training_silence_is_given_more_time() -> None:
    assert listening(loading(A, B, funded=True), A, seconds=8).phase is Phase.LOADING
    assert listening(loading(A, B, funded=True), A, seconds=9).phase is Phase.FAILED


def test_a_coordinator_that_stood_still_itself_blames_nobody() -> None:
    state = listening(training(A, B), A, B, seconds=3)
    state, _ = plan(state, 60.0)
    assert listening(state, A, B, seconds=5).phase is Phase.TRAINING
    assert listening(state, A, seconds=3).phase is Phase.FAILED


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


# --- a replica is lost


def mendable(*peers: PeerId, numbers: tuple[int, ...]) -> RunState:
    return after(training(*peers), Planned(peers, numbers=numbers, mends=True))


def test_when_a_replica_is_lost_the_others_stand_still_and_go_on() -> None:
    state = after(mendable(A, B, C, numbers=(0, 1, 1)), Lost(B, "gone"))
    assert (state.phase, state.reason) == (Phase.MENDING, "stage 1 was lost: peer-b: gone")
    state, actions = plan(state, 1.0)
    assert (state.phase, actions) == (Phase.HALTING, (Tell(Phase.HALTING, (A, C)),))
    state, actions = plan(after(state, Stood(A, 4, 3)), 1.0)
    assert (state.phase, actions) == (Phase.HALTING, ())
    state, actions = plan(after(state, Stood(C, 5, 4)), 1.0)
    assert (state.phase, actions) == (Phase.LOADING, (Mend((A, C), 4), Tell(Phase.LOADING, (A, C))))
    state, actions = plan(after(state, *moved(Standing.READY, A, C)), 1.0)
    assert (state.phase, actions) == (Phase.CONNECTING, (Tell(Phase.CONNECTING, (A, C)),))
    state, actions = plan(after(state, *moved(Standing.CONNECTED, A, C)), 2.0)
    assert (state.phase, state.reason, actions) == (Phase.TRAINING, "", (Tell(Phase.TRAINING, (A, C)),))


def test_what_a_member_had_said_before_it_stood_still_does_not_count() -> None:
    state, _ = plan(after(mendable(A, B, numbers=(0, 0)), Moved(A, Standing.FINISHED), Lost(B, "gone")), 0.0)
    state = after(state, Moved(A, Standing.FINISHED))
    state, _ = plan(after(state, Stood(A, 4, 3)), 0.0)
    assert (state.phase, state.standing(A)) == (Phase.LOADING, Standing.PROBED)


def test_another_loss_while_they_stand_still_leaves_that_one_out_as_well() -> None:
    state, _ = plan(after(mendable(A, B, C, numbers=(0, 0, 0)), Lost(B, "gone")), 0.0)
    state = after(state, Stood(A, 4, 3), Lost(C, "gone too"))
    assert state.phase is Phase.HALTING
    assert plan(state, 0.0)[1] == (Mend((A,), 4), Tell(Phase.LOADING, (A,)))


def test_another_loss_while_they_connect_begins_anew() -> None:
    state, _ = plan(after(mendable(A, B, C, numbers=(0, 0, 0)), Lost(B, "gone")), 0.0)
    state, _ = plan(after(state, Stood(A, 4, 3), Stood(C, 4, 3)), 0.0)
    state = after(state, Lost(C, "gone too"))
    assert state.phase is Phase.MENDING
    state, actions = plan(state, 0.0)
    assert actions == (Tell(Phase.HALTING, (A,)),)
    assert plan(state, 0.0)[1] == ()
    assert plan(after(state, Stood(A, 4, 4)), 0.0)[1] == (Mend((A,), 4), Tell(Phase.LOADING, (A,)))


def test_the_last_of_a_stage_ends_the_term_and_so_does_what_any_other_would_find() -> None:
    state = mendable(A, B, C, numbers=(0, 1, 1))
    assert after(state, Lost(A, "gone")).phase is Phase.FAILED
    assert after(state, Lost(B, "not finite", "run_failed")).phase is Phase.FAILED
    once, _ = plan(after(state, Lost(B, "gone")), 0.0)
    assert after(once, Lost(C, "gone")).phase is Phase.FAILED


def test_a_replica_lost_before_training_ends_the_term() -> None:
    state = after(begin(A, B), *moved(Standing.ACCEPTED, A, B))
    state, _ = plan(state, 0.0)
    state, _ = plan(after(state, *moved(Standing.PROBED, A, B)), 0.0)
    state, _ = plan(after(state, Planned((A, B), numbers=(0, 0), mends=True)), 0.0)
    assert after(state, Lost(B, "gone")).phase is Phase.FAILED


def test_without_a_version_in_common_the_term_ends() -> None:
    state, _ = plan(after(mendable(A, B, C, numbers=(0, 0, 1)), Lost(B, "gone")), 0.0)
    state, actions = plan(after(state, Stood(A, 6, 5), Stood(C, 4, 3)), 0.0)
    assert (state.phase, state.code, actions) == (Phase.FAILED, "peer_lost", ())
    assert state.reason == "stage 0 was lost: peer-b: gone; the others have no version in common"


# --- a stage is lost for which there is no replica


def replannable(*peers: PeerId, spare: PeerId) -> RunState:
    state = after(begin(*peers, spare, min_stages=len(peers)), *moved(Standing.ACCEPTED, *peers, spare))
    state, _ = plan(state, 0.0)
    state, _ = plan(after(state, *moved(Standing.PROBED, *peers, spare)), 0.0)
    state, actions = plan(after(state, Planned(peers, replans=True, spares=1)), 0.0)
    assert actions == (Dismiss(()), Tell(Phase.LOADING, peers))
    state, _ = plan(after(state, *moved(Standing.READY, *peers)), 0.0)
    return plan(after(state, *moved(Standing.CONNECTED, *peers)), 0.0)[0]


def test_a_plan_is_made_anew_with_a_spare_once_the_others_stand_still() -> None:
    state = after(replannable(A, B, spare=C), Lost(B, "gone"))
    assert (state.phase, state.anew, state.reason) == (Phase.MENDING, True, "stage 1 was lost: peer-b: gone")
    state, actions = plan(state, 0.0)
    assert actions == (Tell(Phase.HALTING, (A,)),)
    state, actions = plan(after(state, Stood(A, 4, 4)), 0.0)
    assert (state.phase, actions) == (Phase.PLANNING, (MakePlan((A, C), anew=True),))
    state, actions = plan(after(state, Planned((C, A), replans=True, spares=1)), 0.0)
    assert actions == (Dismiss(()), Tell(Phase.LOADING, (C, A)))


def test_a_spare_that_is_lost_is_asked_for_anew_and_nothing_else() -> None:
    state = replannable(A, B, spare=C)
    assert state.spares_wanted == 0
    state = after(state, Lost(C, "gone"))
    assert (state.phase, state.ready, state.spares_wanted) == (Phase.TRAINING, (), 1)
    assert after(state, Lost(B, "gone")).phase is Phase.FAILED


def test_who_agrees_to_be_a_spare_is_timed_while_the_others_train() -> None:
    d = PeerId("peer-d")
    state = offer(after(replannable(A, B, spare=C), Lost(C, "gone")), (d,), 0.0)
    assert state.spares_wanted == 0
    state, actions = plan(after(state, Moved(d, Standing.ACCEPTED)), 0.0)
    assert actions == (Tell(Phase.PROBING, (d,)),)
    assert plan(state, 0.0)[1] == ()
    assert after(state, Moved(d, Standing.PROBED)).ready == (d,)


def test_only_a_run_that_trains_asks_for_spares_and_who_is_lost_may_be_asked_again() -> None:
    state = replannable(A, B, spare=C)
    assert replace(state, phase=Phase.GATHERING).spares_wanted == 0
    state = forget(after(state, Lost(C, "gone")), C)
    assert (state.standing(C), state.members[-1][0]) == (Standing.OUT, B)
    assert offer(state, (C,), 0.0).at(Standing.OFFERED) == (C,)


def test_a_spare_that_falls_silent_is_none() -> None:
    state = listening(replannable(A, B, spare=C), A, B, seconds=9)
    assert (state.phase, state.standing(C)) == (Phase.TRAINING, Standing.OUT)


def test_a_peer_lost_while_the_plan_is_made_leads_to_another_one() -> None:
    state, _ = plan(after(replannable(A, B, spare=C), Lost(B, "gone")), 0.0)
    state, _ = plan(after(replace(state, min_stages=1), Stood(A, 4, 4)), 0.0)
    state = after(state, Lost(C, "gone too"), Planned((C, A), replans=True))
    state, actions = plan(state, 0.0)
    assert (state.phase, actions) == (Phase.PLANNING, (MakePlan((A,), anew=True),))


def test_without_a_version_in_common_a_plan_is_made_anew() -> None:
    state = after(mendable(A, B, C, numbers=(0, 0, 1)), Planned((A, B, C), numbers=(0, 0, 1), mends=True, replans=True))
    state, _ = plan(after(state, Lost(B, "gone")), 0.0)
    state, actions = plan(after(state, Stood(A, 6, 5), Stood(C, 4, 3)), 0.0)
    assert actions == (MakePlan((A, C), anew=True),)


def test_who_does_not_stand_still_in_time_ends_the_term() -> None:
    state, _ = plan(after(mendable(A, B, numbers=(0, 0)), Lost(B, "gone")), 0.0)
    state = after(state, Said(A), now=15.0)
    state, _ = plan(state, 20.0)
    assert (state.phase, state.code) == (Phase.FAILED, "timed_out")
