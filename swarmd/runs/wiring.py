"""A job's wire, settled with the peers that are known when it is submitted."""

from __future__ import annotations

from base64 import b64decode
from typing import Any

from swarmd.protocols.advert import Advert
from swarmd.protocols.ids import PeerId
from swarmd.protocols.jobtables import RunTable, WireTable
from swarmd.protocols.spec import JobSpec, parse_spec
from swarmd.runs.deps import RunDeps
from swarmd.scheduler.wires import Declared, settled


def settled_spec(answer: dict[str, Any], deps: RunDeps) -> tuple[JobSpec, str]:
    """The spec of a resolved job file, as ``swarmd.train.prepare`` answers, and what its wire is and why."""
    boundaries = answer["wire"]["boundaries"]
    table = WireTable(codec=answer["wire"]["codec"], boundaries=None if boundaries is None else tuple(boundaries))
    peers = [_declared(peer, advert) for peer, advert in sorted(deps.adverts().items())]
    return settled(parse_spec(b64decode(answer["spec"])), table, RunTable(**answer["run"]), peers)


def _declared(peer: PeerId, advert: Advert) -> Declared:
    return Declared(peer, advert.device.flops, advert.up_bits / 8)
