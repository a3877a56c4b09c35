from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest
import trio

from swarmd.net.host import open_host
from swarmd.net.memory import MemoryNetwork
from swarmd.net.transport import RecordStore, Transport
from swarmd.protocols.errors import ProtocolViolation

Node = tuple[Transport, RecordStore]
OpenNode = Callable[[int], Awaitable[Node]]
LOOPBACK = ("/ip4/127.0.0.1/tcp/0",)


def check(key: str, value: bytes) -> int:
    """Records of the tests: ``owner|sequence|text``, where the owner must be the key's last part."""
    owner, sequence, _ = value.decode(errors="replace").split("|") if value.count(b"|") == 2 else ("", "", "")
    if owner != key.split("/")[-1] or not sequence.isdigit():
        raise ProtocolViolation("forged")
    return int(sequence)


@asynccontextmanager
async def opener(context: Callable[[int], AbstractAsyncContextManager[Node]]) -> AsyncIterator[OpenNode]:
    """Opens nodes, each in a task of its own, and closes all of them at the end."""
    closing = trio.Event()

    async def hold(number: int, task_status: trio.TaskStatus[Node]) -> None:
        async with context(number) as node:
            task_status.started(node)
            await closing.wait()

    async with trio.open_nursery() as nursery:
        yield lambda number: nursery.start(hold, number)
        closing.set()


@pytest.fixture
async def open_libp2p() -> AsyncIterator[OpenNode]:
    async with opener(libp2p_node) as open_node:
        yield open_node


@pytest.fixture
async def open_memory() -> AsyncIterator[OpenNode]:
    network = MemoryNetwork(check)
    async with opener(lambda number: network.node(bytes([number] * 32))) as open_node:
        yield open_node


def libp2p_node(number: int) -> AbstractAsyncContextManager[Node]:
    return open_host(key_seed=bytes([number] * 32), listen=LOOPBACK, psk=None, namespace="test", check=check)


@pytest.fixture(params=["open_memory", pytest.param("open_libp2p", marks=[pytest.mark.net, pytest.mark.slow])])
def open_node(request: pytest.FixtureRequest) -> OpenNode:
    return request.getfixturevalue(request.param)
