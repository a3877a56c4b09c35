"""What replicas of a stage say of a step is the same, or the run ends."""

from __future__ import annotations

import pytest

from swarmd.protocols.errors import RunFailed
from swarmd.scheduler.agreement import Agreement

GROUPS = (range(0, 1), range(1, 4), range(4, 5))


def test_replicas_that_say_the_same_agree_in_any_order():
    agreement = Agreement(GROUPS)
    for step in (1, 2):
        for place in (3, 1, 2):
            agreement.said(place, "weights", step, ("a", "b"))


def test_one_that_says_something_else_is_named_with_the_one_before():
    agreement = Agreement(GROUPS)
    agreement.said(2, "weights", 5, "a")
    agreement.said(2, "norms or losses", 5, "b")
    with pytest.raises(RunFailed, match="places 2 and 3 have different weights of step 5"):
        agreement.said(3, "weights", 5, "b")


def test_a_stage_of_one_peer_agrees_with_itself():
    agreement = Agreement(GROUPS)
    agreement.said(0, "weights", 1, "a")
    agreement.said(4, "weights", 1, "b")


def test_words_of_a_step_are_forgotten_once_all_have_spoken():
    agreement = Agreement(GROUPS)
    for place in (1, 2, 3, 1):
        agreement.said(place, "weights", 1, "a")
    with pytest.raises(RunFailed):
        agreement.said(2, "weights", 1, "b")
