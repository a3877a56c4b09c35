"""An estimate: the plan that a submission would make, from what adverts say."""

from __future__ import annotations

from dataclasses import replace

from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import PeerId
from swarmd.protocols.work import amount_of, backward_operations, forward_operations
from swarmd.scheduler.pricing import Quote, Shape, estimate, run_operations, words_of
from swarmd.scheduler.profiles import ModelProfile
from tests.protocols.specs import SPEC

MIB = 1 << 20
PRICE = 10**9


def quote(name: str, price: int, flops: int = 10**9, obstacle: str = "") -> Quote:
    return Quote(peer=PeerId(f"peer-{name}"), price=price, flops=flops, memory_bytes=MIB, obstacle=obstacle)


MODEL = ModelProfile(layers=2, layer_bytes=1000, embed_bytes=0, head_bytes=0, boundary_bytes=0)
ANY, TWO = Shape(model=MODEL), Shape(model=MODEL, min_stages=2)
FREE, CHEAP, DEAR = quote("a", 0), quote("b", PRICE), quote("c", 9 * PRICE)
RICH = Budget(max_credits=10**12)


def test_a_run_is_all_its_micro_batches_there_and_back() -> None:
    each = forward_operations(SPEC, 0, 2) * 3
    assert run_operations(SPEC) == each * SPEC.batch.micro_batches * SPEC.schedule.steps


def test_the_shares_of_stages_add_up_to_the_whole() -> None:
    for work in (forward_operations, backward_operations):
        assert sum(work(SPEC, at, at + 1) for at in range(2)) == work(SPEC, 0, 2)


def test_one_peer_alone_is_paid_for_everything_and_needs_its_time() -> None:
    found = estimate(SPEC, ANY, (CHEAP,), RICH)
    assert found.low == found.high == amount_of(found.operations, PRICE)
    assert (found.affordable, found.stages) == (True, 1)
    assert found.seconds == -(-found.operations // 10**9)
    assert words_of(found, RICH) == "0.021611 credits, with 1 stage"


def test_the_number_of_stages_that_the_job_asks_for_counts() -> None:
    both = estimate(SPEC, TWO, (FREE, DEAR), RICH)
    assert estimate(SPEC, ANY, (FREE, DEAR), RICH).low == 0
    assert both.low > 0
    assert both.stages == 2
    assert words_of(both, RICH).endswith("with 2 stages")


def test_a_job_that_cannot_run_is_not_affordable() -> None:
    found = estimate(SPEC, replace(ANY, min_stages=3), (FREE, CHEAP), RICH)
    assert not found.affordable
    assert (found.seconds, found.stages) == (None, 0)
    assert words_of(found, RICH).startswith("it cannot run: a pipeline of 3 or more stages cannot be made")
    assert words_of(estimate(SPEC, ANY, (), RICH), RICH).startswith("it cannot run: ")


def test_a_budget_that_is_too_small_is_said_with_the_one_that_is_enough() -> None:
    budget = Budget(max_credits=1)
    found = estimate(SPEC, TWO, (FREE, CHEAP, DEAR), budget)
    assert not found.affordable
    assert words_of(found, budget).endswith(f"[budget] max_credits = 0.{found.low:06} is enough")
    assert estimate(SPEC, TWO, (FREE, CHEAP, DEAR), Budget(max_credits=found.low)).affordable


def test_who_is_not_asked_is_named_with_the_reason() -> None:
    found = estimate(SPEC, ANY, (FREE, quote("d", 5, obstacle="asks 5"), quote("e", 0, flops=0)), Budget())
    assert found.fit == (FREE.peer,)
    assert found.left_out == ("peer-d: asks 5", "peer-e: its device has not been measured yet")


def test_a_plan_that_needs_peers_that_may_refuse_promises_nothing() -> None:
    unsure = replace(CHEAP, doubt="it may not list us")
    found = estimate(SPEC, TWO, (FREE, unsure), RICH)
    assert (found.affordable, found.stages, found.fit) == (False, 2, (FREE.peer,))
    assert len(found.may_refuse) == 1
    assert words_of(found, RICH).startswith("not sure to run, since peers that it needs may refuse it; if none does: ")


def test_a_plan_that_needs_none_of_them_does_not_count_them() -> None:
    unsure = replace(FREE, peer=PeerId("peer-d"), doubt="it may not list us")
    found = estimate(SPEC, ANY, (CHEAP, unsure), RICH)
    assert found.affordable
    assert found.high > 0
    assert words_of(found, RICH).endswith("with 1 stage; other peers, which may refuse, are not counted")


def test_what_cannot_run_with_them_either_is_said_to() -> None:
    unsure = replace(CHEAP, doubt="it may not list us")
    assert words_of(estimate(SPEC, replace(TWO, min_stages=3), (FREE, unsure), RICH), RICH).startswith("it cannot run")
