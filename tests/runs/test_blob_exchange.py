"""Blobs between two nodes: large ones over a link of their own where there is a way, and whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import trio

from swarmd.blobs import BlobStore
from swarmd.net.memory import MemoryNetwork
from swarmd.net.memory_transport import MemoryTransport
from swarmd.net.tensorlink import Rates, TensorListener, Throttle
from swarmd.protocols.errors import PeerLost, ProtocolViolation, Refused
from swarmd.protocols.ids import BlobHash, RunId
from swarmd.runs.blob_exchange import Grant, Grants, fetch_blob, serve_blobs
from swarmd.runs.bulk_routes import LARGE_BYTES, BulkRoutes

RUN = RunId("ab" * 32)

BOTH_WAYS = pytest.mark.parametrize("direct", [True, False], ids=["link", "stream"])
pytestmark = pytest.mark.net


@dataclass
class Two:
    """A node that gives and a node that takes."""

    grants: Grants
    given: BlobStore
    giver: BulkRoutes
    taker: BulkRoutes
    tensors: TensorListener
    into: BlobStore

    def grant(self, data: bytes) -> BlobHash:
        blob = self.given.put(data)
        self.grants.add(RUN, Grant(self.given, {self.taker.transport.peer_id}, {blob}))
        return blob

    async def fetch(self, blob: BlobHash, most: int = 1 << 30) -> None:
        await fetch_blob(self.taker, Grants(), self.giver.transport.peer_id, RUN, blob, self.into, most)


@asynccontextmanager
async def two(
    folder: Path, monkeypatch: pytest.MonkeyPatch, *, direct: bool, up: Throttle | None = None
) -> AsyncIterator[Two]:
    """``direct``: whether the giver's tensor port has an address."""
    if direct:
        monkeypatch.setattr(MemoryTransport, "remote_addresses", lambda self, peer: ("/ip4/127.0.0.1/tcp/4801",))
    network = MemoryNetwork()
    with trio.fail_after(20):
        async with (
            network.node(b"a" * 32) as (giving, _),
            network.node(b"b" * 32) as (taking, _),
            trio.open_nursery() as nursery,
        ):
            tensors = TensorListener("127.0.0.1")
            await nursery.start(tensors.serve)
            await taking.dial(giving.peer_id, giving.addresses())
            giver, taker = BulkRoutes(giving, tensors, Rates(up)), BulkRoutes(taking, TensorListener("127.0.0.1"))
            pair = Two(Grants(), BlobStore(folder / "given"), giver, taker, tensors, BlobStore(folder / "into"))
            serve_blobs(giving, pair.grants, giver)
            yield pair
            nursery.cancel_scope.cancel()


@BOTH_WAYS
@pytest.mark.parametrize("size", [0, 10, LARGE_BYTES - 1, LARGE_BYTES, 3 * LARGE_BYTES + 7])
async def test_a_blob_comes_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, direct: bool) -> None:
    async with two(tmp_path, monkeypatch, direct=direct) as pair:
        data = os.urandom(size)
        blob = pair.grant(data)
        await pair.fetch(blob)
        assert pair.into.get(blob) == data
        assert pair.tensors.counters["tickets_issued"] == (size >= LARGE_BYTES)


@BOTH_WAYS
async def test_a_blob_keeps_to_the_nodes_cap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    async with two(tmp_path, monkeypatch, direct=direct, up=Throttle(80.0)) as pair:
        blob, begun = pair.grant(bytes(2 << 20)), trio.current_time()
        await pair.fetch(blob)
        assert trio.current_time() - begun > (2 << 20) * 8 / 80e6 - 0.05


async def test_a_tensor_port_that_nobody_reaches_is_not_tried_for_every_blob(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dialled: list[str] = []

    async def unreachable(host: str, *rest: object) -> None:
        dialled.append(host)
        raise PeerLost("nobody answers")

    monkeypatch.setattr("swarmd.runs.bulk_routes.dial_link", unreachable)
    async with two(tmp_path, monkeypatch, direct=True) as pair:
        for number in range(3):
            data = bytes([number]) * LARGE_BYTES
            blob = pair.grant(data)
            await pair.fetch(blob)
            assert pair.into.get(blob) == data
    assert dialled == ["127.0.0.1"]


@BOTH_WAYS
async def test_other_bytes_are_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, direct: bool) -> None:
    async with two(tmp_path, monkeypatch, direct=direct) as pair:
        blob = pair.grant(bytes(LARGE_BYTES))
        pair.given.path(blob).write_bytes(b"x" * LARGE_BYTES)
        with pytest.raises(ProtocolViolation, match="other bytes"):
            await pair.fetch(blob)
        assert not pair.into.has(blob)


async def test_a_blob_that_is_too_large_or_not_granted_is_not_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path, monkeypatch, direct=True) as pair:
        blob = pair.grant(bytes(LARGE_BYTES))
        with pytest.raises(ProtocolViolation, match="allows 1000"):
            await pair.fetch(blob, most=1000)
        with pytest.raises(Refused):
            await pair.fetch(BlobHash("00" * 32))


async def test_a_fetch_that_is_cancelled_leaves_no_thread_and_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with two(tmp_path, monkeypatch, direct=True, up=Throttle(1.0)) as pair:
        blob = pair.grant(bytes(LARGE_BYTES))
        with trio.move_on_after(0.2) as scope:
            await pair.fetch(blob)
        assert scope.cancelled_caught
        assert not list(pair.into.names())
