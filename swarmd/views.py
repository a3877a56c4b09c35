"""The node and its peers as people see them: values for the control protocol."""

from __future__ import annotations

from swarmd.config import Config
from swarmd.protocols.advert import PeerAdvert
from swarmd.protocols.control import DeviceView, PeerView
from swarmd.runs.leases import Leases


def peer_view(known: PeerAdvert, connected: bool, now: float) -> PeerView:
    """A peer, from its verified advert."""
    advert, device = known.advert, known.advert.device
    return PeerView(
        peer=known.peer,
        name=advert.name,
        connected=connected,
        device=DeviceView(
            name=device.name,
            kind=device.kind,
            threads=device.threads,
            memory_bytes=device.memory_bytes,
            flops=float(device.flops),
            numerics=device.numerics,
        ),
        addresses=advert.addresses,
        price=advert.price,
        accepts=advert.accepts,
        sequence=advert.sequence,
        expires_in=advert.expires_at - now,
    )


def idle_reason(config: Config, leases: Leases, probed: bool, peers: int) -> str:
    """Why no stage runs here, and what would change it; empty when one does."""
    if leases.held:
        return ""
    if not probed:
        return "the device is still being probed"
    if config.max_stages == 0:
        return "max_stages is 0: this node only submits"
    if config.accept == "self":
        return "only your own jobs are taken: --accept network takes everybody's"
    if config.accept == "list" and not config.allow:
        return "only your own jobs are taken: --allow PEER or --accept network takes others'"
    if peers == 0:
        return "no other node is known: --bootstrap ADDRESS leads to a swarm"
    return "nobody has asked for a stage"
