"""What a run may cost, and the unit of work it is counted in."""

from __future__ import annotations

import pytest

from swarmd.protocols.budget import Budget, micro_credits


def test_without_a_budget_only_free_peers_take_part() -> None:
    assert Budget().allows(0)
    assert not Budget().allows(1)


def test_a_price_ceiling_holds_for_each_peer() -> None:
    assert Budget(max_credits=1).allows(10**9)
    budget = Budget(max_credits=1, max_price=40)
    assert budget.allows(40)
    assert not budget.allows(41)


def test_credits_of_a_job_file_are_exact() -> None:
    assert micro_credits(0.1) == 100_000
    assert micro_credits(2.5) == 2_500_000
    assert micro_credits(0.0000019) == 1


@pytest.mark.parametrize("wrong", [{"max_credits": -1}, {"max_price": 1 << 63}, {"pay_every": 0}, {"lane_hours": 0}])
def test_impossible_budgets_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"budget|vouchers"):
        Budget(**wrong)
