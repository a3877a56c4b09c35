"""What running jobs needs of the node, in one value."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from swarmd.blobs import BlobStore
from swarmd.compute.process import OpenCompute, open_compute
from swarmd.config import Config
from swarmd.device import Device
from swarmd.identity import Identity
from swarmd.ledger.jobsdb import JobStore
from swarmd.ledger.wallet import Wallet
from swarmd.log import EventLog
from swarmd.net.tensorlink import TensorListener
from swarmd.net.transport import Transport
from swarmd.network import Network
from swarmd.paths import Paths
from swarmd.protocols.advert import Advert
from swarmd.protocols.ids import PeerId
from swarmd.runs.blob_exchange import Grants
from swarmd.runs.bulk_routes import BulkRoutes
from swarmd.runs.leases import Leases
from swarmd.runs.link_desk import LinkDesk
from swarmd.storage import Storage


@dataclass(frozen=True, slots=True, kw_only=True)
class RunDeps:
    """Built once, by the composition root."""

    paths: Paths
    config: Config
    network: Network
    identity: Identity
    transport: Transport
    tensors: TensorListener
    storage: Storage
    blobs: BlobStore
    """The coordinator's: shards and checkpoints of this node's own runs."""
    wallet: Wallet
    """Our account on the network's ledger."""
    jobs: JobStore
    """Lanes, vouchers and receipts of runs, as payer and as provider."""
    grants: Grants
    routes: BulkRoutes
    """How blobs travel, under the node's caps, which every tensor link shares."""
    desk: LinkDesk
    leases: Leases
    events: EventLog
    device: Device
    adverts: Callable[[], dict[PeerId, Advert]]
    """Live, verified adverts by peer, our own among them."""
    wake_advert: Callable[[], None]
    """Says that the advert should be issued anew: what it says has changed."""
    open_compute: OpenCompute = open_compute
    fault: str = ""
    """A fault to inject into stages held here (``swarmd.train.faults``); empty but in tests."""
