"""The composition root: builds every part of a node, hands each what it needs, and starts it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import aclosing
from dataclasses import dataclass

import trio

from swarmd import __version__
from swarmd.blobs import BlobStore
from swarmd.config import DEFAULT, Config, Origins
from swarmd.control import serve_control
from swarmd.device import Device
from swarmd.gpu.telemetry import live
from swarmd.identity import Identity
from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.energy import EnergyMeter
from swarmd.ledger.files import LedgerFiles
from swarmd.ledger.service import serve_ledger
from swarmd.ledger.wallet import Wallet
from swarmd.log import EventLog
from swarmd.methods import Methods
from swarmd.metrics import loop_lateness, make_metrics
from swarmd.metrics_http import serve_metrics
from swarmd.net.discovery import Discovery
from swarmd.net.mdns import announcement_of, run_mdns
from swarmd.net.own_advert import OwnAdvert
from swarmd.net.remembering import keep_adverts, recall_adverts
from swarmd.net.tensorlink import TensorListener, rates_of
from swarmd.net.transport import RecordStore, Transport
from swarmd.network import Network
from swarmd.paths import Paths
from swarmd.protocols.addresses import is_dialable, parse_contact
from swarmd.protocols.advert import MAX_ADDRESSES, Advert
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.errors import RemoteError, StateError
from swarmd.protocols.ids import PeerId
from swarmd.runs.blob_exchange import Grants, serve_blobs
from swarmd.runs.bulk_routes import BulkRoutes
from swarmd.runs.deps import RunDeps
from swarmd.runs.leases import Leases
from swarmd.runs.link_desk import LinkDesk
from swarmd.runs.manager import Runs
from swarmd.runs.offers import serve_sessions
from swarmd.storage import Storage

PARTING_SECONDS = 3.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """What a node is started with."""

    config: Config
    origins: Origins
    paths: Paths
    ready: Callable[[tuple[str, ...]], None]
    """Gets the addresses that others can use, once everything answers."""
    fault: str = ""
    """A fault to inject (``swarmd.train.faults``); empty but in tests."""


class Node:
    """The parts of a running node. Everything it starts runs in one nursery and ends with it."""

    def __init__(
        self, boot: Boot, identity: Identity, network: Network, transport: Transport, nursery: trio.Nursery
    ) -> None:
        self._boot, self._transport, self._nursery = boot, transport, nursery
        self._config, self._paths = boot.config, boot.paths
        self._identity, self._network = identity, network
        self._events = EventLog()
        self._book = AdvertBook(self._network.id, self._identity.peer)
        self._device = Device(self._config, self._paths.probe)
        self._leases = Leases(self._paths.leases)
        self._tensors = TensorListener(self._config.tensor_host, self._config.tensor_port)
        self._tensor_port = 0
        self._rates = rates_of(self._config.upload_mbit, self._config.download_mbit)
        self._own = OwnAdvert(self._network.id, self._identity.peer, self._identity.sign, self._describe, time.time)

    async def start(self, records: RecordStore, storage: Storage, files: LedgerFiles) -> None:
        """Start every service, say that the node is ready, then learn what the device can do."""
        nursery, peer = self._nursery, self._identity.peer
        self._leases.clear()
        nursery.start_soon(_end_on_signal, nursery.cancel_scope)
        nursery.start_soon(_keep_events, self._events, storage)
        self._tensor_port = await nursery.start(self._tensors.serve)
        wallet = self._wallet = await nursery.start(serve_ledger, self._ledger_deps(files))
        deps = self._deps(storage, wallet, files)
        serve_blobs(self._transport, deps.grants, deps.routes)
        serve_sessions(deps)
        runs = Runs(deps)
        await nursery.start(runs.serve)
        await recall_adverts(self._book, storage, time.time())
        discovery = self._discovery(records)
        await nursery.start(discovery.run)
        nursery.start_soon(keep_adverts, self._book, storage, time.time)
        self._start_mdns(discovery)
        meter = EnergyMeter(self._paths.energy, lambda: bool(self._leases.held), self._power, self._config.power_watts)
        nursery.start_soon(meter.run)
        methods = Methods(
            deps,
            runs,
            self._book,
            self._boot.origins,
            lambda: self._counters(discovery),
            nursery.cancel_scope.cancel,
            wallet,
            meter,
        )
        await nursery.start(serve_control, self._paths.control, methods.table())
        await self._start_metrics(runs, discovery)
        self._boot.ready(tuple(f"{address}/p2p/{peer}" for address in self._transport.addresses()))
        await self._device.probe(self._events)
        self._own.changed()

    async def leave(self) -> None:
        """End every stage held here while the network still stands, so that each coordinator is told why."""
        with trio.move_on_after(PARTING_SECONDS):
            for lease in tuple(self._leases.held.values()):
                lease.scope.cancel()
                await lease.ended.wait()

    def _ledger_deps(self, files: LedgerFiles) -> LedgerDeps:
        return LedgerDeps(
            genesis=self._network.genesis,
            identity=self._identity,
            transport=self._transport,
            gossip=self._transport.gossip,
            peers=lambda: tuple(sorted(self._transport.connected())),
            dial=self._dial,
            self_store=files.own,
            ledger_store=files.ledger,
            job_store=files.jobs,
            events=self._events,
            clock=time.time,
            target_stake=self._config.target_stake,
        )

    async def _dial(self, peer: PeerId) -> None:
        """Connect by what its advert says; not being able to is no failure."""
        advert = self._adverts().get(peer)
        if advert is None or not advert.addresses:
            return
        try:
            await self._transport.dial(peer, advert.addresses)
        except RemoteError:
            return

    def _deps(self, storage: Storage, wallet: Wallet, files: LedgerFiles) -> RunDeps:
        return RunDeps(
            paths=self._paths,
            config=self._config,
            network=self._network,
            identity=self._identity,
            transport=self._transport,
            tensors=self._tensors,
            storage=storage,
            blobs=BlobStore(self._paths.blobs),
            grants=Grants(),
            routes=BulkRoutes(self._transport, self._tensors, self._rates),
            desk=LinkDesk(self._transport),
            leases=self._leases,
            events=self._events,
            device=self._device,
            adverts=self._adverts,
            wake_advert=self._own.changed,
            wallet=wallet,
            jobs=files.jobs,
            fault=self._boot.fault,
        )

    def _adverts(self) -> dict[PeerId, Advert]:
        ours = [self._own.current] if self._own.current else []
        return {known.peer: known.advert for known in (*ours, *self._book.live(time.time()))}

    def _discovery(self, records: RecordStore) -> Discovery:
        return Discovery(
            self._transport,
            records,
            self._book,
            self._own,
            network=self._network.id,
            clock=time.time,
            bootstrap=tuple(map(parse_contact, (*self._config.bootstrap, *self._network.contacts))),
        )

    def _start_mdns(self, discovery: Discovery) -> None:
        ours = announcement_of(self._identity.peer, self._network.id, self._transport.addresses())
        if self._config.mdns and ours is not None:
            self._nursery.start_soon(run_mdns, ours, discovery.suggest)

    async def _start_metrics(self, runs: Runs, discovery: Discovery) -> None:
        endpoint = self._config.metrics_endpoint
        if endpoint is None:
            return
        metrics = make_metrics(lambda: self._gauges(runs), lambda: self._counters(discovery))
        self._nursery.start_soon(loop_lateness, metrics)
        host, port = endpoint
        try:
            port = await self._nursery.start(serve_metrics, host, port, metrics.text)
        except StateError:
            if self._boot.origins["metrics"] != DEFAULT:
                raise
            port = await self._nursery.start(serve_metrics, host, 0, metrics.text)  # nobody chose the default
        self._events.info(f"metrics are at http://{host}:{port}/metrics")

    def _power(self) -> float | None:
        view = self._device.view
        return live(view).power_w if view else None

    def _gauges(self, runs: Runs) -> dict[str, int]:
        return {
            "peers": len(self._transport.connected()),
            "stages": len(self._leases.held),
            "runs": runs.running,
            **self._wallet.gauges(),
        }

    def _counters(self, discovery: Discovery) -> dict[str, int]:
        parts = (self._transport.counters(), discovery.counters(), self._tensors.counters, self._wallet.counters())
        return {name: count for part in parts for name, count in part.items()}

    def _describe(self) -> Advert:
        """What we offer now; a node whose device is still being probed is found, and offers no stage."""
        config = self._config
        room = config.max_stages - len(self._leases.held) if self._device.view else 0
        return Advert(
            name=config.name,
            device=self._device.advert(),
            up_bits=int(config.upload_mbit * 1e6),
            down_bits=int(config.download_mbit * 1e6),
            price=config.price,
            accepts=config.accept,
            max_stages=config.max_stages,
            free_stages=max(0, room),
            addresses=tuple(filter(is_dialable, self._transport.addresses()))[:MAX_ADDRESSES],
            tensor_port=self._tensor_port,
            version=__version__,
        )


async def _keep_events(events: EventLog, storage: Storage) -> None:
    async with aclosing(events.subscribe()) as stream:
        async for event in stream:
            await storage.append_event(event)


async def _end_on_signal(scope: trio.CancelScope) -> None:
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
        async for _ in signals:
            scope.cancel()
            return
