"""A job's wire and the cut of its steps, settled with the peers that are known when it is submitted."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

import trio

from swarmd.protocols.advert import Advert
from swarmd.protocols.batchtable import BatchTable
from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobtables import RunTable, WireTable
from swarmd.protocols.spec import JobSpec, parse_spec
from swarmd.runs.deps import RunDeps
from swarmd.runs.quotes import quotes_of
from swarmd.scheduler.batching import Swarm, for_one_sequence
from swarmd.scheduler.credit import ASSUMED_ROUND_TRIP
from swarmd.scheduler.pricing import declared_worker
from swarmd.scheduler.settling import Settled, Wishes, settle
from swarmd.scheduler.wires import Declared


async def settled_spec(answer: dict[str, Any], deps: RunDeps) -> Settled:
    """The spec of a resolved job file, as ``swarmd.train.prepare`` answers, its wire and its cut in words."""
    spec, boundaries = parse_spec(b64decode(answer["spec"])), answer["wire"]["boundaries"]
    wishes = Wishes(
        WireTable(codec=answer["wire"]["codec"], boundaries=None if boundaries is None else tuple(boundaries)),
        BatchTable(**answer["batch"]),
        RunTable(**answer["run"]),
    )
    peers = [_declared(peer, advert) for peer, advert in sorted(deps.adverts().items())]
    swarm = _swarm(spec, Budget(**answer["budget"]), deps)
    return await trio.to_thread.run_sync(settle, spec, wishes, peers, swarm)


def _declared(peer: PeerId, advert: Advert) -> Declared:
    return Declared(peer, advert.device.flops, advert.up_bits / 8)


def _swarm(spec: JobSpec, budget: Budget, deps: RunDeps) -> Swarm:
    """Those that nothing they say speaks against; all that may be asked, if there are none."""
    asked = [quote for quote in quotes_of(budget, deps) if quote.flops > 0 and not quote.obstacle]
    quotes = [quote for quote in asked if not quote.doubt] or asked
    one = for_one_sequence(spec)
    return Swarm(
        tuple(declared_worker(one, quote) for quote in quotes),
        lambda _, __: ASSUMED_ROUND_TRIP,
        {peer: advert.down_bits / 8 for peer, advert in deps.adverts().items()},
    )
