"""What a job would cost here and now, before anybody is asked for a stage: planned as a submission would be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trio

from swarmd.children import run_child
from swarmd.protocols.budget import Budget
from swarmd.protocols.control import EstimateView
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.runs.deps import RunDeps
from swarmd.runs.quotes import quotes_of
from swarmd.runs.wiring import settled_spec
from swarmd.scheduler.pricing import Estimate, Shape, estimate, words_of
from swarmd.scheduler.profiles import model_profile


async def estimate_job(deps: RunDeps, path: str) -> EstimateView:
    """Resolve a job file and price it with the peers that are known. Raises what is wrong with the file."""
    await deps.device.probed.wait()
    answer = await run_child("prepare", path, "--blobs", str(deps.blobs.root))
    return await estimate_prepared(deps, answer)


async def estimate_prepared(deps: RunDeps, answer: dict[str, Any]) -> EstimateView:
    """As ``estimate_job``, of what ``swarmd.train.prepare`` answered."""
    settled, budget = await settled_spec(answer, deps), Budget(**answer["budget"])
    spec, asked, quotes = settled.spec, RunTable(**answer["run"]), quotes_of(budget, deps)
    shape = Shape(model=model_profile(spec), min_stages=asked.min_stages, max_stages=asked.max_stages)
    thrifty = replace(shape, model=model_profile(spec, least=True))
    found = await trio.to_thread.run_sync(estimate, spec, shape, quotes, budget)
    if not found.stages:
        found = await trio.to_thread.run_sync(estimate, spec, thrifty, quotes, budget)
    return EstimateView(
        name=spec.name,
        spec=spec.spec_id,
        operations=found.operations,
        tokens=found.tokens,
        low=found.low,
        high=found.high,
        max_credits=budget.max_credits,
        affordable=found.affordable and not _short(found, deps),
        seconds=found.seconds,
        stages=found.stages,
        fit=found.fit,
        may_refuse=found.may_refuse,
        left_out=found.left_out,
        words=words_of(found, budget) + _short(found, deps),
    )


def _short(found: Estimate, deps: RunDeps) -> str:
    """What to add where the account does not hold what the plan costs; empty if it does."""
    if not (found.affordable or found.doubtful) or not deps.wallet.enabled:
        return ""
    balance = deps.wallet.standing().balance
    return "" if found.high <= balance else f"; this account holds {format_credits(balance)}, too little"
