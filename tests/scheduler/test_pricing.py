"""An estimate: bounds from what peers ask, before anybody is asked."""

from __future__ import annotations

from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import PeerId
from swarmd.protocols.work import amount_of, backward_operations, forward_operations
from swarmd.scheduler.pricing import Quote, estimate, run_operations, words_of
from tests.protocols.specs import SPEC

FREE, CHEAP, DEAR = (Quote(PeerId(f"peer-{name}"), price, 10**9) for name, price in (("a", 0), ("b", 40), ("c", 90)))


def test_a_run_is_all_its_micro_batches_there_and_back() -> None:
    job = SPEC
    layers = job.model.num_hidden_layers
    each = forward_operations(job, 0, layers) * 3
    assert run_operations(job) == each * job.batch.micro_batches * job.schedule.steps


def test_the_shares_of_stages_add_up_to_the_whole() -> None:
    job = SPEC
    layers = job.model.num_hidden_layers
    for work in (forward_operations, backward_operations):
        assert sum(work(job, at, at + 1) for at in range(layers)) == work(job, 0, layers)


def test_bounds_are_those_of_the_cheapest_and_the_dearest_that_fit() -> None:
    job, budget = SPEC, Budget(max_credits=10**12, max_price=90)
    found = estimate(job, (CHEAP, DEAR), budget)
    assert (found.low, found.high) == (amount_of(found.operations, 40), amount_of(found.operations, 90))
    assert found.affordable
    assert found.seconds == -(-found.operations // (2 * 10**9))
    assert words_of(found, budget).endswith("credits")


def test_without_a_budget_only_free_peers_fit_and_the_others_are_named() -> None:
    found = estimate(SPEC, (FREE, CHEAP), Budget())
    assert found.fit == (FREE.peer,)
    assert (found.low, found.high, found.affordable) == (0, 0, True)
    asks = "peer-b asks 40 micro-credits per 10^12 operations"
    assert found.left_out == (f"{asks}; the job has no budget ([budget] max_credits)",)


def test_a_peer_above_the_ceiling_or_not_measured_is_left_out() -> None:
    unmeasured = Quote(PeerId("peer-d"), 0, 0)
    found = estimate(SPEC, (DEAR, unmeasured), Budget(max_credits=5, max_price=50))
    assert found.fit == ()
    assert found.seconds is None
    assert found.left_out == (
        "peer-c asks 90 micro-credits per 10^12 operations; the job pays at most 50 ([budget] max_price)",
        "peer-d: its device has not been measured yet",
    )
    assert words_of(found, Budget()) == "no peer fits this job"


def test_a_budget_that_is_too_small_is_said() -> None:
    dear = Quote(PeerId("peer-e"), 10**12, 10**9)
    budget = Budget(max_credits=1)
    found = estimate(SPEC, (dear,), budget)
    assert not found.affordable
    assert "over the budget of 0.000001" in words_of(found, budget)
