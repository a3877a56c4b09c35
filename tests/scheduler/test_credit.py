"""Credits and deferrals from measured times."""

from __future__ import annotations

import pytest

from swarmd.scheduler.credit import credit_for, credits, deferral_for


class TestCredits:
    def test_without_links_it_is_the_number_of_stages_from_here_on(self):
        times = {
            "forward": 0.1,
            "backward": 0.1,
            "transfer": 0.0,
            "round_trip": 0.0,
            "period": 0.2,
            "slack": 0,
        }
        assert [credits(index, 4, **times) for index in range(4)] == [4, 3, 2, 1]

    def test_a_slow_link_needs_as_many_more_as_pass_while_one_is_away(self):
        times = {"forward": 0.1, "backward": 0.1, "transfer": 0.05, "round_trip": 0.1, "period": 0.2}
        assert [credits(index, 4, **times) for index in range(4)] == [8, 6, 4, 2]

    def test_there_is_always_one(self):
        assert credits(0, 1, forward=0, backward=0, transfer=0, round_trip=0, period=1, slack=0) == 1

    @pytest.mark.parametrize("wrong", [{"period": 0.0}, {"period": float("nan")}, {"forward": float("inf")}])
    def test_times_must_be_times(self, wrong):
        times = {"forward": 0.1, "backward": 0.1, "transfer": 0.0, "round_trip": 0.0, "period": 0.2}
        with pytest.raises(ValueError, match=r"period|finite"):
            credits(0, 4, **{**times, **wrong})


class TestMeasuredCredits:
    def test_as_many_as_pass_while_one_is_away_and_one_in_hand_and_one_to_spare(self):
        assert credit_for(own=0.2, away=0.5) == 1 + 3 + 1
        assert credit_for(own=0.2, away=0.0, slack=0) == 1

    def test_with_equal_stages_it_is_what_the_planner_gives(self):
        times = {"forward": 0.1, "backward": 0.1, "transfer": 0.0, "round_trip": 0.05, "period": 0.2}
        assert [credit_for(own=0.2, away=(3 - at) * 0.25) for at in range(4)] == [
            credits(index, 4, **times) for index in range(4)
        ]

    def test_no_more_weight_gradients_than_fit_into_the_gap(self):
        assert deferral_for(gap=0.25, weights=0.1) == 2
        assert deferral_for(gap=0.0, weights=0.1) == 0
