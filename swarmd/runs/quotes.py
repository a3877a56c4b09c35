"""What the peers that are known offer and ask, by their adverts, and why some are not asked for a stage."""

from __future__ import annotations

from swarmd.protocols.advert import Advert
from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import PeerId
from swarmd.runs.deps import RunDeps
from swarmd.runs.funding import too_dear
from swarmd.scheduler.pricing import Quote


def quotes_of(budget: Budget, deps: RunDeps) -> list[Quote]:
    """Of all live adverts, our own among them, by peer."""
    return [quote_of(peer, advert, budget, deps) for peer, advert in sorted(deps.adverts().items())]


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
