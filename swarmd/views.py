"""The node and its peers as people see them: values for the control protocol."""

from __future__ import annotations

from swarmd.config import Config
from swarmd.protocols.advert import PeerAdvert
from swarmd.protocols.control import DeviceView, HostedView, PeerView
from swarmd.protocols.control_earn import NowView
from swarmd.protocols.ids import PeerId
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


def idle_reason(config: Config, leases: Leases, probed: bool, peers: int, *, main: bool = True) -> str:
    """Why no stage runs here, and what would change it; empty when one does. ``main``: on the main network."""
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
        if not main:
            return "no other node is known: swarmd network invite prints what others join with"
        return "no other node is known: --bootstrap ADDRESS leads to a swarm"
    return "nobody has asked for a stage"


def hosted_views(leases: Leases, us: PeerId) -> tuple[HostedView, ...]:
    """The runs of others that a stage here works for."""
    return tuple(
        HostedView(run=lease.run, submitter=lease.submitter, stage=lease.words, lane=lease.lane)
        for lease in leases.held.values()
        if lease.submitter != us
    )


def now_view(config: Config, leases: Leases, device: DeviceView | None, why_idle: str, pace: float | None) -> NowView:
    """What this node does at this moment. ``pace``: steps a second of what it trains, where it is known."""
    lease = next(iter(leases.held.values()), None)
    return NowView(
        state="working" if lease else "idle",
        why_idle=why_idle,
        run=lease.run if lease else "",
        stage=lease.words if lease else "",
        steps_per_s=pace,
        power_w=device.power_w if device else None,
        temperature_c=device.temperature_c if device else None,
        price=config.price,
    )
