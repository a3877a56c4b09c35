"""What a run would cost and how long it would take at least, from what peers ask and say they can do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.work import amount_of, backward_operations, forward_operations


@dataclass(frozen=True, slots=True)
class Quote:
    """What one peer asks for and offers. Our own node asks nothing."""

    peer: PeerId
    price: int
    """Micro-credits per 10^12 operations."""
    flops: int
    """Operations per second that it says it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """Bounds on a run, before anybody was asked. Amounts in micro-credits."""

    operations: int
    """Of all steps, without evaluations, which are not paid."""
    tokens: int
    low: int
    """If the cheapest peer that fits did all of it."""
    high: int
    """If the dearest did."""
    affordable: bool
    """Whether ``low`` is within the budget."""
    seconds: int | None
    """At least: if all that fit shared it evenly and nothing were lost. None: nobody fits."""
    fit: tuple[PeerId, ...]
    left_out: tuple[str, ...]
    """Why others do not fit, one line each."""


def run_operations(spec: JobSpec) -> int:
    """Operations of all steps of a run, forward and backward."""
    layers, steps = spec.model.num_hidden_layers, spec.schedule.steps
    each = forward_operations(spec, 0, layers) + backward_operations(spec, 0, layers)
    return each * spec.batch.micro_batches * steps


def estimate(spec: JobSpec, quotes: Sequence[Quote], budget: Budget) -> Estimate:
    """Bounds on a run of this spec among these peers, within this budget."""
    fit = [quote for quote in quotes if budget.allows(quote.price) and quote.flops > 0]
    operations = run_operations(spec)
    amounts = [amount_of(operations, quote.price) for quote in fit]
    rate = sum(quote.flops for quote in fit)
    return Estimate(
        operations=operations,
        tokens=spec.batch.tokens_per_step * spec.schedule.steps,
        low=min(amounts, default=0),
        high=max(amounts, default=0),
        affordable=min(amounts, default=0) <= budget.max_credits,
        seconds=-(-operations // rate) if fit else None,
        fit=tuple(quote.peer for quote in fit),
        left_out=tuple(_reason(quote, budget) for quote in quotes if quote not in fit),
    )


def _reason(quote: Quote, budget: Budget) -> str:
    if quote.flops <= 0:
        return f"{short(quote.peer)}: its device has not been measured yet"
    asks = f"{short(quote.peer)} asks {quote.price:,} micro-credits per 10^12 operations"
    if budget.max_credits == 0:
        return f"{asks}; the job has no budget ([budget] max_credits)"
    return f"{asks}; the job pays at most {budget.max_price:,} ([budget] max_price)"


def words_of(estimate: Estimate, budget: Budget) -> str:
    """One line for people."""
    span = f"{format_credits(estimate.low)} to {format_credits(estimate.high)} credits"
    if not estimate.fit:
        return "no peer fits this job"
    if not estimate.affordable:
        return f"{span}: over the budget of {format_credits(budget.max_credits)} ([budget] max_credits)"
    return span
