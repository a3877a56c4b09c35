"""What a job would cost here and now, before anybody is asked for a stage."""

from __future__ import annotations

from swarmd.children import run_child
from swarmd.protocols.advert import Advert
from swarmd.protocols.budget import Budget
from swarmd.protocols.control import EstimateView
from swarmd.protocols.ids import PeerId
from swarmd.runs.deps import RunDeps
from swarmd.runs.wiring import settled_spec
from swarmd.scheduler.pricing import Quote, estimate, words_of


async def estimate_job(deps: RunDeps, path: str) -> EstimateView:
    """Resolve a job file and price it with the peers that are known. Raises what is wrong with the file."""
    await deps.device.probed.wait()
    answer = await run_child("prepare", path, "--blobs", str(deps.blobs.root))
    (spec, _), budget = settled_spec(answer, deps), Budget(**answer["budget"])
    me = deps.identity.peer
    found = estimate(spec, [_quote(peer, advert, me) for peer, advert in sorted(deps.adverts().items())], budget)
    return EstimateView(
        name=spec.name,
        spec=spec.spec_id,
        operations=found.operations,
        tokens=found.tokens,
        low=found.low,
        high=found.high,
        max_credits=budget.max_credits,
        affordable=found.affordable,
        seconds=found.seconds,
        fit=found.fit,
        left_out=found.left_out,
        words=words_of(found, budget),
    )


def _quote(peer: PeerId, advert: Advert, me: PeerId) -> Quote:
    return Quote(peer, 0 if peer == me else advert.price, advert.device.flops)
