"""What a job would cost here and now, before anybody is asked for a stage: planned as a submission would be."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import trio

from swarmd.children import run_child
from swarmd.protocols.advert import Advert
from swarmd.protocols.budget import Budget
from swarmd.protocols.control import EstimateView
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.runs.deps import RunDeps
from swarmd.runs.funding import too_dear
from swarmd.runs.planning import model_profile
from swarmd.runs.wiring import settled_spec
from swarmd.scheduler.pricing import Estimate, Quote, Shape, estimate, words_of


async def estimate_job(deps: RunDeps, path: str) -> EstimateView:
    """Resolve a job file and price it with the peers that are known. Raises what is wrong with the file."""
    await deps.device.probed.wait()
    answer = await run_child("prepare", path, "--blobs", str(deps.blobs.root))
    return await estimate_prepared(deps, answer)


async def estimate_prepared(deps: RunDeps, answer: dict[str, Any]) -> EstimateView:
    """As ``estimate_job``, of what ``swarmd.train.prepare`` answered."""
    (spec, _), budget = settled_spec(answer, deps), Budget(**answer["budget"])
    asked = answer["run"]
    shape = Shape(model=model_profile(spec), min_stages=asked["min_stages"] or 1, max_stages=asked["max_stages"])
    thrifty = replace(shape, model=model_profile(spec, least=True))
    quotes = [quote_of(peer, advert, budget, deps) for peer, advert in sorted(deps.adverts().items())]
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


def quote_of(peer: PeerId, advert: Advert, budget: Budget, deps: RunDeps) -> Quote:
    """What a peer's advert says; our own node asks nothing."""
    ours = peer == deps.identity.peer
    return Quote(
        peer=peer,
        price=0 if ours else advert.price,
        flops=advert.device.flops,
        memory_bytes=advert.device.memory_bytes,
        uplink_bytes_per_s=advert.up_bits / 8,
        obstacle=_not_taking(advert, ours) or too_dear(peer, advert, budget, deps),
        doubt=_doubt(advert, ours),
    )


def _not_taking(advert: Advert, ours: bool) -> str:
    if advert.max_stages == 0:
        return "it holds no stages, for anybody"
    if advert.accepts == "self" and not ours:
        return "it takes its owner's jobs alone"
    return ""


def _doubt(advert: Advert, ours: bool) -> str:
    """Why a peer may refuse an offer. Whom it lists, and who holds its stages, no advert tells."""
    if advert.accepts == "list" and not ours:
        return "it takes the jobs of those that its owner lists, and does not say whom"
    return "" if advert.free_stages else "it holds as many stages now as it takes"


def _short(found: Estimate, deps: RunDeps) -> str:
    """What to add where the account does not hold what the plan costs; empty if it does."""
    if not (found.affordable or found.doubtful) or not deps.wallet.enabled:
        return ""
    balance = deps.wallet.standing().balance
    return "" if found.high <= balance else f"; this account holds {format_credits(balance)}, too little"
