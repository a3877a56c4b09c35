"""What a run would cost and how long it would take at least, by the plan that a submission would make now.

Peers are taken as fast as their adverts say; the probe that a submission begins with may say otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import ceil

from swarmd.protocols.budget import Budget
from swarmd.protocols.errors import RunFailed
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.work import backward_operations, forward_operations
from swarmd.scheduler.profiles import ModelProfile, WorkerProfile
from swarmd.scheduler.purse import Purse
from swarmd.scheduler.thrift import plans


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What one peer asks for and offers. Our own node asks nothing."""

    peer: PeerId
    price: int
    """Micro-credits per 10^12 operations."""
    flops: int
    """Operations per second that it says it does."""
    memory_bytes: int
    uplink_bytes_per_s: float = 0.0
    """0: unknown, taken as unlimited."""
    obstacle: str = ""
    """Why it is not asked for a stage; empty if it is."""
    doubt: str = ""
    """Why it may refuse; empty if nothing that it says is against it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """What the job asks of the pipeline."""

    model: ModelProfile
    min_stages: int = 1
    max_stages: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A run before anybody was asked. Amounts in micro-credits."""

    operations: int
    """Of all steps, without evaluations, which are not paid."""
    tokens: int
    low: int = 0
    """The cheapest plan found."""
    high: int = 0
    """The plan that would be taken; the fastest if none is affordable."""
    affordable: bool = False
    """Whether there is a plan, and one within the budget."""
    seconds: int | None = None
    """At least, with the plan of ``high``. None: there is no plan."""
    stages: int = 0
    """Of that plan; 0: there is none."""
    problem: str = ""
    """Why there is no plan at any price."""
    fit: tuple[PeerId, ...]
    """Those that nothing they say speaks against."""
    may_refuse: tuple[str, ...] = ()
    """Others that are asked too, and why they may refuse, one line each."""
    left_out: tuple[str, ...]
    """Why the rest does not fit, one line each."""
    doubtful: bool = False
    """Whether the plan needs some that may refuse; then it is not counted as affordable."""


def run_operations(spec: JobSpec) -> int:
    """Operations of all steps of a run, forward and backward."""
    layers, steps = spec.model.num_hidden_layers, spec.schedule.steps
    return _both_ways(spec, 0, layers) * spec.batch.micro_batches * steps


def estimate(spec: JobSpec, shape: Shape, quotes: Sequence[Quote], budget: Budget) -> Estimate:
    """What a run of this spec would cost among these peers, within this budget."""
    asked = [quote for quote in quotes if not _obstacle(quote)]
    fit = [quote for quote in asked if not quote.doubt]
    bare = Estimate(
        operations=run_operations(spec),
        tokens=spec.batch.tokens_per_step * spec.schedule.steps,
        fit=tuple(quote.peer for quote in fit),
        may_refuse=tuple(f"{short(quote.peer)}: {quote.doubt}" for quote in asked if quote.doubt),
        left_out=tuple(f"{short(quote.peer)}: {_obstacle(quote)}" for quote in quotes if _obstacle(quote)),
    )
    certain = _planned(bare, spec, shape, fit, budget)
    if certain.affordable or len(fit) == len(asked):
        return certain
    hoped = _planned(bare, spec, shape, asked, budget)
    return replace(hoped, affordable=False, doubtful=True) if hoped.affordable else certain


def words_of(estimate: Estimate, budget: Budget) -> str:
    """One line for people."""
    if estimate.problem:
        return f"it cannot run: {estimate.problem}"
    if estimate.doubtful:
        return f"not sure to run, since peers that it needs may refuse it; if none does: {_cost(estimate)}"
    if not estimate.affordable:
        enough = format_credits(estimate.low)
        return (
            f"at least {enough} credits, over the budget of {format_credits(budget.max_credits)}: "
            f"[budget] max_credits = {enough.replace(',', '')} is enough"
        )
    rest = "; other peers, which may refuse, are not counted" if estimate.may_refuse else ""
    return _cost(estimate) + rest


def _cost(estimate: Estimate) -> str:
    return f"{format_credits(estimate.high)} credits, with {estimate.stages} stage{'s' * (estimate.stages > 1)}"


def _planned(bare: Estimate, spec: JobSpec, shape: Shape, fit: Sequence[Quote], budget: Budget) -> Estimate:
    prices = {quote.peer: quote.price for quote in fit}
    purse = Purse(spec=spec, steps=spec.schedule.steps, prices=prices, budget=budget.max_credits)
    workers = [declared_worker(spec, quote) for quote in fit]
    try:
        found = plans(workers, shape.model, purse, min_stages=shape.min_stages, max_stages=shape.max_stages)
    except RunFailed as error:
        return replace(bare, problem=error.message)
    taken = found.chosen or found.fastest
    each_step = taken.plan.bottleneck_seconds * spec.batch.micro_batches
    return replace(
        bare,
        low=found.cheapest.cost,
        high=taken.cost,
        affordable=found.chosen is not None,
        seconds=ceil(each_step * spec.schedule.steps),
        stages=len(taken.plan.stages),
    )


def declared_worker(spec: JobSpec, quote: Quote) -> WorkerProfile:
    """A measured peer as the planner takes it, as fast as it says. Raises ZeroDivisionError for one of no rate."""
    layers = spec.model.num_hidden_layers
    deeper = replace(spec, model=replace(spec.model, num_hidden_layers=layers + 1))
    layer = _both_ways(deeper, 0, 1)  # without the output matrix, which the last layer's stage has
    return WorkerProfile(
        peer=quote.peer,
        seconds_per_layer=layer / quote.flops,
        seconds_embed=0.0,
        seconds_head=(_both_ways(spec, 0, layers) - layers * layer) / quote.flops,
        memory_bytes=quote.memory_bytes,
        uplink_bytes_per_s=quote.uplink_bytes_per_s,
    )


def _both_ways(spec: JobSpec, first: int, end: int) -> int:
    return forward_operations(spec, first, end) + backward_operations(spec, first, end)


def _obstacle(quote: Quote) -> str:
    return quote.obstacle or ("" if quote.flops > 0 else "its device has not been measured yet")
