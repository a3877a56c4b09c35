"""Plans within a budget: the fastest one if it can be paid, else the fastest found that can."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarmd.protocols.errors import Refused, RunFailed
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import MICRO, format_credits
from swarmd.scheduler.partition import Partition, partition
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile
from swarmd.scheduler.purse import Purse
from swarmd.scheduler.thrift import plan_within, plans
from tests.protocols.specs import SPEC

MIB = 1 << 20
DEAR = 10**9


def purse_of(layers: int, budget: int, *prices: int, spent: int = 0) -> Purse:
    spec = replace(SPEC, model=replace(SPEC.model, num_hidden_layers=layers))
    asked = {PeerId(f"p{at}"): price for at, price in enumerate(prices)}
    return Purse(spec=spec, steps=spec.schedule.steps, prices=asked, budget=budget, spent=spent)


def worker(at: int, layer: float = 0.001, memory: int = 100) -> WorkerProfile:
    return WorkerProfile(
        peer=PeerId(f"p{at}"), seconds_per_layer=layer, seconds_embed=0.0, seconds_head=0.0, memory_bytes=memory * MIB
    )


def model(layers: int) -> ModelProfile:
    return ModelProfile(layers=layers, layer_bytes=MIB, embed_bytes=0, head_bytes=0, boundary_bytes=0)


def layers_of(plan: Partition) -> dict[str, int]:
    return {stage.peer: stage.end - stage.first for stage in plan.stages}


def test_the_fastest_plan_is_taken_where_it_can_be_paid() -> None:
    workers = [worker(0, 0.01), worker(1)]
    assert plan_within(workers, model(6), purse_of(6, 10**15, 0, DEAR)) == partition(workers, model(6))


def test_cheaper_and_slower_peers_are_taken_to_stay_within_the_budget() -> None:
    workers = [worker(0, 0.01), worker(1)]
    plan = plan_within(workers, model(6), purse_of(6, 0, 0, DEAR))
    assert layers_of(plan) == {"p0": 6}
    assert "left out p1: it asks 1,000,000,000 micro-credits per 10^12 operations" in plan.reason


def test_a_dear_peer_that_is_needed_for_the_number_of_stages_holds_one_layer() -> None:
    workers, purse = [worker(0), worker(1)], purse_of(6, 0, 0, DEAR)
    cheapest = plans(workers, model(6), purse, min_stages=2).cheapest
    assert layers_of(cheapest.plan)["p1"] == 1
    paid = plan_within(workers, model(6), replace(purse, budget=cheapest.cost), min_stages=2)
    assert paid == cheapest.plan


def test_no_affordable_plan_is_slower_than_it_must_be() -> None:
    """What can be paid of the dear peer's share is given to it."""
    workers, whole = [worker(0), worker(1)], purse_of(8, 0, 0, DEAR)
    cost = plans(workers, model(8), whole).fastest.cost
    plan = plan_within(workers, model(8), replace(whole, budget=cost // 2))
    assert 1 < layers_of(plan)["p1"] < layers_of(partition(workers, model(8)))["p1"]


def test_a_budget_that_is_too_small_is_told_the_one_that_is_enough() -> None:
    workers, purse = [worker(0), worker(1)], purse_of(6, 5 * MICRO, 10**13, 10**14, spent=4 * MICRO)
    cost = plans(workers, model(6), purse, min_stages=2).cheapest.cost
    enough = format_credits(4 * MICRO + cost).replace(",", "")
    with pytest.raises(Refused, match=rf"1 are left of the budget; \[budget\] max_credits = {enough} is enough"):
        plan_within(workers, model(6), purse, min_stages=2)
    assert plan_within(workers, model(6), replace(purse, budget=4 * MICRO + cost), min_stages=2)


def test_no_plan_at_any_price_is_no_matter_of_money() -> None:
    with pytest.raises(RunFailed, match="3 or more stages"):
        plan_within([worker(0)], model(6), purse_of(6, 0, DEAR), min_stages=3)


def test_the_output_matrix_goes_to_a_cheaper_member_only_if_it_can_hold_it() -> None:
    cheap, dear = worker(0, memory=12), worker(1)
    for head_bytes, last in ((0, "p0"), (50 * MIB, "p1")):
        costs = replace(model(12), head_bytes=head_bytes)
        plan = plans([cheap, dear], costs, purse_of(12, 0, 1, DEAR), min_stages=2).cheapest.plan
        assert plan.stages[-1].peer == last


def fits(workers: list[WorkerProfile], layers: int, least: int) -> bool:
    try:
        return bool(partition(workers, model(layers), min_stages=least))
    except RunFailed:
        return False


@settings(deadline=None, max_examples=100)
@given(data=st.data())
def test_what_is_found_is_within_the_budget_and_the_same_every_time(data: st.DataObject) -> None:
    layers, count = data.draw(st.integers(1, 8)), data.draw(st.integers(1, 6))
    workers = [
        worker(at, data.draw(st.sampled_from([0.0, 0.001, 0.002, 0.007])), data.draw(st.integers(0, 10)))
        for at in range(count)
    ]
    prices = [data.draw(st.sampled_from([0, 1, 10**6, 10**8, DEAR, 7 * DEAR])) for _ in workers]
    purse = purse_of(layers, data.draw(st.integers(0, 10**5)), *prices)
    least = data.draw(st.integers(1, count))
    if not fits(workers, layers, least):
        with pytest.raises(RunFailed):
            plan_within(workers, model(layers), purse, min_stages=least)
        return
    fastest = partition(workers, model(layers), min_stages=least)
    found = plans(workers, model(layers), purse, min_stages=least)
    assert found == plans(workers[::-1], model(layers), purse, min_stages=least)
    assert found.fastest.plan == fastest
    assert found.cheapest.cost == purse.cost(found.cheapest.plan.ranges) <= found.fastest.cost
    if found.chosen is None:
        assert purse.left < found.cheapest.cost
        return
    assert found.chosen.cost == purse.cost(found.chosen.plan.ranges) <= purse.left
    assert len(found.chosen.plan.stages) >= least
    assert sum(layers_of(found.chosen.plan).values()) == layers
    if found.fastest.cost <= purse.left:
        assert found.chosen.plan == fastest
