"""Whole run-taking nodes in one process: memory streams, real tensor links, workers in threads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import trio

from swarmd.blobs import BlobStore
from swarmd.compute.thread import open_compute_thread
from swarmd.config import Config
from swarmd.device import Device
from swarmd.identity import Identity, identity_of
from swarmd.ledger.deps import LedgerDeps
from swarmd.ledger.files import LedgerFiles, open_ledger_files
from swarmd.ledger.ownership import Owner
from swarmd.ledger.service import serve_ledger
from swarmd.log import EventLog
from swarmd.net.memory import MemoryNetwork, MemoryTransport
from swarmd.net.tensorlink import TensorListener
from swarmd.network import MAIN, Network
from swarmd.paths import Paths
from swarmd.protocols.advert import Advert
from swarmd.protocols.control import DeviceView
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId
from swarmd.runs.blob_exchange import Grants, serve_blobs
from swarmd.runs.bulk_routes import BulkRoutes
from swarmd.runs.deps import RunDeps
from swarmd.runs.leases import Leases
from swarmd.runs.link_desk import LinkDesk
from swarmd.runs.manager import Runs
from swarmd.runs.offers import serve_sessions
from swarmd.runs.record import RunRecord
from swarmd.runs.view import state_words
from swarmd.storage import serve_storage

DEVICE = DeviceView(name="test", kind="cpu", threads=1, memory_bytes=1 << 34, flops=1e9, numerics="native/test")


@dataclass(frozen=True, slots=True)
class TestNode:
    """A node's parts that tests look at."""

    __test__ = False

    deps: RunDeps
    runs: Runs
    transport: MemoryTransport
    scope: trio.CancelScope
    ended: trio.Event = field(default_factory=trio.Event)

    async def stop(self) -> None:
        """End it as a daemon ends that is killed: nobody gets another word."""
        self.scope.cancel()
        await self.ended.wait()

    @property
    def peer(self) -> PeerId:
        return self.deps.identity.peer

    async def finished(self, record: RunRecord) -> tuple[str, str, str]:
        """The run's last state, its code and its reason."""
        while (words := state_words(record))[0] not in ("done", "failed", "stopped"):
            with trio.move_on_after(0.2):
                await self.runs.changed.wait()
        return words


@dataclass(frozen=True, slots=True)
class Boot:
    """What a node is made from."""

    paths: Paths
    config: Config
    identity: Identity
    transport: MemoryTransport
    fault: str


class Swarm:
    """Nodes that all know each other."""

    def __init__(self, folder: Path, nursery: trio.Nursery, name: Network) -> None:
        self.folder, self.network, self._nursery, self._name = folder, MemoryNetwork(), nursery, name
        self.nodes: list[TestNode] = []

    async def add(self, *, fault: str = "", state: str = "", again: int = 0, **settings: object) -> TestNode:
        """A new node, or the one of number ``again`` started once more; connected to the others at once."""
        number = again or len(self.nodes) + 1
        node: TestNode = await self._nursery.start(self._node, number, state or f"node-{number}", fault, settings)
        self.nodes = [other for other in self.nodes if other.peer != node.peer]
        for other in self.nodes:
            await node.transport.dial(other.peer, other.transport.addresses())
        self.nodes.append(node)
        return node

    def adverts(self) -> dict[PeerId, Advert]:
        """What every node says of itself."""
        return {node.peer: _advert(node.deps.device, node.deps.config) for node in self.nodes}

    async def _node(
        self,
        number: int,
        state: str,
        fault: str,
        settings: dict[str, object],
        task_status: trio.TaskStatus[TestNode],
    ) -> None:
        identity = identity_of(bytes([number]) * 32)
        paths = Paths(self.folder / state)
        paths.state_dir.mkdir(exist_ok=True)
        ended = trio.Event()
        config = Config(**{"accept": "network", "device": "cpu", "threads": 1, "mdns": False, **settings})
        async with trio.open_nursery() as lasting, self.network.node(identity.seed) as (transport, _):
            async with trio.open_nursery() as nursery:
                deps = await self._deps(Boot(paths, config, identity, transport, fault), nursery, lasting)
                serve_blobs(transport, deps.grants, deps.routes)
                serve_sessions(deps)
                runs = Runs(deps)
                await nursery.start(runs.serve)
                task_status.started(TestNode(deps, runs, transport, nursery.cancel_scope, ended))
                await trio.sleep_forever()
            lasting.cancel_scope.cancel()
        ended.set()

    async def _deps(self, boot: Boot, nursery: trio.Nursery, lasting: trio.Nursery) -> RunDeps:
        tensors = TensorListener("127.0.0.1")
        await nursery.start(tensors.serve)
        device = Device(boot.config, boot.paths.probe)
        device.view = DEVICE
        device.probed.set()
        files = await open_ledger_files(
            boot.paths, lasting, Owner(boot.identity.peer, self._name.id), mark=bool(self._name.genesis.committee)
        )
        return RunDeps(
            paths=boot.paths,
            config=boot.config,
            network=self._name,
            identity=boot.identity,
            transport=boot.transport,
            tensors=tensors,
            storage=await nursery.start(serve_storage, boot.paths.database),
            blobs=BlobStore(boot.paths.blobs),
            wallet=await nursery.start(serve_ledger, self._ledger(boot, files)),
            jobs=files.jobs,
            grants=Grants(),
            routes=BulkRoutes(boot.transport, tensors),
            desk=LinkDesk(boot.transport),
            leases=Leases(boot.paths.leases),
            events=EventLog(),
            device=device,
            adverts=self.adverts,
            wake_advert=lambda: None,
            open_compute=open_compute_thread,
            fault=boot.fault,
        )

    def _ledger(self, boot: Boot, files: LedgerFiles) -> LedgerDeps:
        return LedgerDeps(
            genesis=self._name.genesis,
            identity=boot.identity,
            transport=boot.transport,
            gossip=boot.transport.gossip,
            peers=lambda: tuple(sorted(boot.transport.connected())),
            dial=lambda peer: self._dial(boot.transport, peer),
            self_store=files.own,
            ledger_store=files.ledger,
            job_store=files.jobs,
            events=EventLog(),
            clock=time.time,
        )

    async def _dial(self, transport: MemoryTransport, peer: PeerId) -> None:
        node = self.network.nodes.get(peer)
        with suppress(PeerLost):
            await transport.dial(peer, node.addresses() if node else ())


@asynccontextmanager
async def open_swarm(folder: Path, name: Network = MAIN) -> AsyncIterator[Swarm]:
    """A swarm on this network for the length of the block."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield Swarm(folder, nursery, name)
            nursery.cancel_scope.cancel()


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that happens in threads and processes, where there is nothing to wait on."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


def _advert(device: Device, config: Config) -> Advert:
    now = int(time.time())
    return Advert(
        sequence=1,
        issued_at=now,
        expires_at=now + 60,
        name="test",
        device=device.advert(),
        price=config.price,
        accepts=config.accept,
        max_stages=config.max_stages,
        free_stages=config.max_stages,
        addresses=("/ip4/127.0.0.1/tcp/1",),
    )
