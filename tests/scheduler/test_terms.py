"""When a run that lost a peer goes on by itself, and when it gives up."""

from __future__ import annotations

import pytest

from swarmd.scheduler.terms import LONGEST_PAUSE_SECONDS, Ending, Terms

LOST = Ending(code="peer_lost", planned=True, gained=False)
GAINED = Ending(code="peer_lost", planned=True, gained=True)


def test_a_lost_peer_begins_another_term_at_once():
    following = Terms(5).after(LOST)
    assert following is not None
    assert (following.number, following.pause) == (2, 0.0)


def test_terms_that_gain_nothing_are_counted_and_one_that_gains_makes_all_well():
    terms = Terms(2)
    for _ in range(2):
        terms = terms.after(LOST)
    assert terms.after(LOST) is None
    assert terms.after(GAINED).after(LOST).after(LOST) is not None


def test_pauses_grow_with_terms_that_gain_nothing():
    terms, pauses = Terms(100), []
    for _ in range(9):
        terms = terms.after(LOST)
        pauses.append(terms.pause)
    assert pauses == [0, 1, 2, 4, 8, 16, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS]
    assert terms.after(GAINED).pause == 0


@pytest.mark.parametrize("ending", [LOST, GAINED])
def test_without_restarts_the_first_lost_peer_ends_the_run(ending):
    assert Terms(0).after(ending) is None


def test_what_another_term_would_not_mend_ends_the_run():
    assert Terms(5).after(Ending(code="run_failed", planned=True, gained=True)) is None


def test_too_few_peers_end_a_first_term_and_later_ones_wait_for_them():
    nobody = Ending(code="run_failed", planned=False, gained=False)
    assert Terms(5).after(nobody) is None
    assert Terms(5).after(LOST).after(nobody) is not None
