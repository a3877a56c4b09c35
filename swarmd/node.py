"""The composition root: builds every part of a node, hands each what it needs, and starts it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from contextlib import aclosing

import trio

from swarmd import __version__
from swarmd.blobs import BlobStore
from swarmd.config import Config, Origins, listen_addresses
from swarmd.control import serve_control
from swarmd.device import Device
from swarmd.identity import load_identity
from swarmd.log import EventLog
from swarmd.methods import Methods
from swarmd.net.discovery import Discovery
from swarmd.net.host import open_host
from swarmd.net.own_advert import OwnAdvert
from swarmd.net.tensorlink import TensorListener
from swarmd.network import load_or_create_network
from swarmd.paths import Paths
from swarmd.protocols.addresses import is_dialable, parse_contact
from swarmd.protocols.advert import MAX_ADDRESSES, Advert, record_check
from swarmd.protocols.advert_book import AdvertBook
from swarmd.runs.blob_exchange import Grants, serve_blobs
from swarmd.runs.deps import RunDeps
from swarmd.runs.leases import Leases
from swarmd.runs.link_desk import LinkDesk
from swarmd.runs.manager import Runs
from swarmd.runs.member import serve_sessions
from swarmd.state_lock import lock_state
from swarmd.storage import Storage, serve_storage


async def run_node(config: Config, origins: Origins, paths: Paths, ready: Callable[[tuple[str, ...]], None]) -> None:
    """Be a node until SIGTERM, ctrl-C or ``swarmd down``.

    ``ready`` gets the addresses others can use, once everything answers. Raises StateError or UsageError
    when the node cannot start.
    """
    with lock_state(paths):
        identity, network = load_identity(paths), load_or_create_network(paths)
        check = record_check(network.id, time.time)
        psk = network.psk.hex() if network.psk else None
        async with (
            open_host(
                key_seed=identity.seed,
                listen=listen_addresses(config, origins),
                psk=psk,
                namespace="swarmd",
                check=check,
            ) as (transport, records),
            trio.open_nursery() as nursery,
        ):
            storage = await nursery.start(serve_storage, paths.database)
            events = EventLog()
            nursery.start_soon(_keep_events, events, storage)
            tensors = TensorListener(config.tensor_host, config.tensor_port)
            tensor_port = await nursery.start(tensors.serve)
            book = AdvertBook(network.id, identity.peer)
            device = Device(config, paths.probe)
            leases = Leases(paths.leases)
            leases.clear()

            def describe() -> Advert | None:
                return _advert(config, device, leases, transport.addresses(), tensor_port)

            own = OwnAdvert(network.id, identity.peer, identity.sign, describe, time.time)
            deps = RunDeps(
                paths=paths,
                config=config,
                network=network,
                identity=identity,
                transport=transport,
                tensors=tensors,
                storage=storage,
                blobs=BlobStore(paths.blobs),
                grants=Grants(),
                desk=LinkDesk(transport),
                leases=leases,
                events=events,
                device=device,
                adverts=lambda: {known.peer: known.advert for known in book.live(time.time())},
                wake_advert=own.changed,
            )
            serve_blobs(transport, deps.grants)
            serve_sessions(deps)
            runs = Runs(deps)
            await nursery.start(runs.serve)
            contacts = tuple(parse_contact(address) for address in config.bootstrap)
            discovery = Discovery(
                transport, records, book, own, network=network.id, clock=time.time, bootstrap=contacts
            )
            await nursery.start(discovery.run)

            def counters() -> dict[str, int]:
                return {**transport.counters(), **discovery.counters(), **tensors.counters}

            methods = Methods(deps, runs, book, device, origins, counters, nursery.cancel_scope.cancel)
            await nursery.start(serve_control, paths.control, methods.table())
            nursery.start_soon(_end_on_signal, nursery.cancel_scope)
            ready(tuple(f"{address}/p2p/{identity.peer}" for address in transport.addresses()))
            await device.probe(events)
            own.changed()


def _advert(
    config: Config, device: Device, leases: Leases, addresses: tuple[str, ...], tensor_port: int
) -> Advert | None:
    """What we offer now; None until the device is known."""
    known = device.advert()
    if known is None:
        return None
    return Advert(
        name=config.name,
        device=known,
        up_bits=int(config.upload_mbit * 1e6),
        down_bits=int(config.download_mbit * 1e6),
        price=config.price,
        accepts=config.accept,
        max_stages=config.max_stages,
        free_stages=max(0, config.max_stages - len(leases.held)),
        addresses=tuple(filter(is_dialable, addresses))[:MAX_ADDRESSES],
        tensor_port=tensor_port,
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
