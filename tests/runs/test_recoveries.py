"""What a run remembers of its losses."""

from __future__ import annotations

from swarmd.runs.recoveries import KEPT, Recoveries, Recovery


def test_a_recovery_lasts_from_the_first_loss_to_the_next_step() -> None:
    recoveries = Recoveries()
    assert recoveries.went_on("replica", 7, 10.0) is None
    assert recoveries.lost("the first", 9, 10.0)
    assert not recoveries.lost("another meanwhile", 9, 11.0)
    found = recoveries.went_on("checkpoint", 7, 12.5)
    assert found == Recovery(rung="checkpoint", reason="the first", step=7, again=2, seconds=2.5)
    assert found.words == (
        "the stages were planned anew: training goes on from step 7 after 2.5 s, 2 committed steps are done again"
    )
    assert list(recoveries.all) == [found]


def test_only_the_newest_are_kept_and_all_are_counted() -> None:
    recoveries = Recoveries()
    for number in range(KEPT + 5):
        recoveries.lost("gone", number, 0.0)
        recoveries.went_on("term", number, 1.0)
    assert (len(recoveries.all), recoveries.all[0].step, recoveries.count) == (KEPT, 5, KEPT + 5)
