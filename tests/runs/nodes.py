"""Whole run-taking nodes in one process: memory streams, real tensor links, workers in threads."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import trio

from swarmd.blobs import BlobStore
from swarmd.compute.thread import open_compute_thread
from swarmd.config import Config
from swarmd.device import Device
from swarmd.identity import identity_of
from swarmd.log import EventLog
from swarmd.net.memory import MemoryNetwork, MemoryTransport
from swarmd.net.tensorlink import TensorListener
from swarmd.network import MAIN
from swarmd.paths import Paths
from swarmd.protocols.advert import Advert
from swarmd.protocols.control import DeviceView
from swarmd.protocols.ids import PeerId
from swarmd.runs.blob_exchange import Grants, serve_blobs
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

    @property
    def peer(self) -> PeerId:
        return self.deps.identity.peer

    async def finished(self, record: RunRecord) -> tuple[str, str, str]:
        """The run's last state, its code and its reason."""
        while (words := state_words(record))[0] not in ("done", "failed", "stopped"):
            with trio.move_on_after(0.2):
                await self.runs.changed.wait()
        return words


class Swarm:
    """Nodes that all know each other."""

    def __init__(self, folder: Path, nursery: trio.Nursery) -> None:
        self.folder, self.network, self._nursery = folder, MemoryNetwork(), nursery
        self.nodes: list[TestNode] = []

    async def add(self, *, fault: str = "", state: str = "", **settings: object) -> TestNode:
        """A new node; connected to the others at once."""
        number = len(self.nodes) + 1
        node: TestNode = await self._nursery.start(self._node, number, state or f"node-{number}", fault, settings)
        for other in self.nodes:
            await node.transport.dial(other.peer, other.transport.addresses())
        self.nodes.append(node)
        return node

    def adverts(self) -> dict[PeerId, Advert]:
        """What every node says of itself."""
        return {node.peer: _advert(node.deps.device) for node in self.nodes}

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
        config = Config(**{"accept": "network", "device": "cpu", "threads": 1, "mdns": False, **settings})
        async with self.network.node(identity.seed) as (transport, _), trio.open_nursery() as nursery:
            tensors = TensorListener("127.0.0.1")
            await nursery.start(tensors.serve)
            device = Device(config, paths.probe)
            device.view = DEVICE
            device.probed.set()
            deps = RunDeps(
                paths=paths,
                config=config,
                network=MAIN,
                identity=identity,
                transport=transport,
                tensors=tensors,
                storage=await nursery.start(serve_storage, paths.database),
                blobs=BlobStore(paths.blobs),
                grants=Grants(),
                desk=LinkDesk(transport),
                leases=Leases(paths.leases),
                events=EventLog(),
                device=device,
                adverts=self.adverts,
                wake_advert=lambda: None,
                open_compute=open_compute_thread,
                fault=fault,
            )
            serve_blobs(transport, deps.grants)
            serve_sessions(deps)
            runs = Runs(deps)
            await nursery.start(runs.serve)
            task_status.started(TestNode(deps, runs, transport))
            await trio.sleep_forever()


@asynccontextmanager
async def open_swarm(folder: Path) -> AsyncIterator[Swarm]:
    """A swarm for the length of the block."""
    with trio.fail_after(60):
        async with trio.open_nursery() as nursery:
            yield Swarm(folder, nursery)
            nursery.cancel_scope.cancel()


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for something that happens in threads and processes, where there is nothing to wait on."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110
            await trio.sleep(0.01)


def _advert(device: Device) -> Advert:
    now = int(time.time())
    return Advert(
        sequence=1,
        issued_at=now,
        expires_at=now + 60,
        name="test",
        device=device.advert(),
        addresses=("/ip4/127.0.0.1/tcp/1",),
    )
