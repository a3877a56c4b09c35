"""Blobs between members of a run, by content hash.

They are asked for on a control stream. A large one then comes over a link of its own (``bulk_routes``), a small one,
or one from a peer whose tensor port cannot be reached, on the stream.

A node serves a blob only to peers it was granted to: the coordinator grants a run's shards and
checkpoints to the members, a member grants its units to the coordinator.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import trio

from swarmd.blobs import BlobStore, BlobWriter
from swarmd.net.tensorlink import Share, receive_bulk
from swarmd.net.transport import Stream, StreamLimits, Transport
from swarmd.protocols.errors import NotFound, ProtocolViolation, Refused, TimedOut
from swarmd.protocols.ids import BlobHash, PeerId, RunId, short
from swarmd.protocols.messages import BLOB_PROTOCOL, BlobHead, GetBlob, LinkTicket, TakeBlob
from swarmd.runs.bulk_routes import BulkRoutes
from swarmd.runs.session import Session
from swarmd.scheduler.sharing import Rank

PIECE_BYTES = 1 << 20
STALL_SECONDS = 20.0
"""A blob on a stream must move at least one piece in this time."""


@dataclass(slots=True)
class Grant:
    """What one store gives to whom, for one run."""

    store: BlobStore
    peers: set[PeerId] = field(default_factory=set[PeerId])
    blobs: set[BlobHash] = field(default_factory=set[BlobHash])
    asked: BlobHash | None = None
    """The blob that was asked for last."""


class Grants:
    """Every grant on this node. One run may have two: the coordinator's and the local member's."""

    def __init__(self) -> None:
        self._by_run: dict[RunId, list[Grant]] = {}

    def add(self, run: RunId, grant: Grant) -> None:
        """Start serving a grant."""
        self._by_run.setdefault(run, []).append(grant)

    def remove(self, run: RunId, grant: Grant) -> None:
        """Stop serving it."""
        held = self._by_run.get(run, [])
        held.remove(grant)
        if not held:
            del self._by_run[run]

    def find(self, run: RunId, blob: BlobHash, peer: PeerId) -> BlobStore:
        """The store that may give this blob to this peer. Raises NotFound."""
        for grant in self._by_run.get(run, []):
            if peer in grant.peers and blob in grant.blobs and grant.store.has(blob):
                grant.asked = blob
                return grant.store
        raise NotFound(f"no blob {short(blob)} of run {short(run)} for {short(peer)}")


def serve_blobs(transport: Transport, grants: Grants, routes: BulkRoutes) -> None:
    """Answer ``GetBlob`` from now on."""

    async def handler(stream: Stream) -> None:
        await _serve_one(stream, grants, routes)

    transport.handle(BLOB_PROTOCOL, handler, StreamLimits(streams_per_peer=4, read_deadline=10.0))


async def fetch_blob(
    routes: BulkRoutes, grants: Grants, peer: PeerId, run: RunId, blob: BlobHash, into: BlobStore, most: int
) -> None:
    """Bring a blob of a run, of at most ``most`` bytes, from a member into a store, unless it is there.

    Raises:
        PeerLost, Refused, TimedOut: the peer went away, does not give it, or stalled.
        ProtocolViolation: it sent something else.
    """
    if await trio.to_thread.run_sync(into.has, blob):
        return
    if peer == routes.transport.peer_id:
        data = await trio.to_thread.run_sync(grants.find(run, blob, peer).get, blob)
        await trio.to_thread.run_sync(into.put, data)
        return
    stream = await routes.transport.open_stream(peer, BLOB_PROTOCOL)
    try:
        await _receive(stream, routes, run, blob, into, most)
    finally:
        await stream.close()


async def _receive(stream: Stream, routes: BulkRoutes, run: RunId, blob: BlobHash, into: BlobStore, most: int) -> None:
    session = Session(stream, (GetBlob, TakeBlob), (BlobHead,))
    await session.send(GetBlob(run, blob))
    with _patience(blob):
        head = await session.receive()
    assert isinstance(head, BlobHead)
    if head.size < 0:
        raise Refused(f"{short(stream.remote)} does not give blob {short(blob)}")
    if head.size > most:
        raise ProtocolViolation(f"a blob of {head.size} bytes, where the run's spec allows {most}")
    link = await routes.reach(stream.remote, run, head.link) if head.link else None
    if head.link:
        await session.send(TakeBlob(link is not None))
    with into.writer(blob) as writer:
        if link is not None:
            await receive_bulk(link, head.size, writer.write, routes.rates.down)
        else:
            await _receive_here(stream, routes, blob, head.size, writer)
        await trio.to_thread.run_sync(writer.commit)


async def _receive_here(stream: Stream, routes: BulkRoutes, blob: BlobHash, size: int, writer: BlobWriter) -> None:
    share, left = Share(routes.rates.down), size
    while left:
        count = share.piece(min(left, PIECE_BYTES))
        await share.wait_here(Rank.BULK, count)
        with _patience(blob):
            piece = await stream.receive_exactly(count)
        await trio.to_thread.run_sync(writer.write, piece)
        left -= count


async def _serve_one(stream: Stream, grants: Grants, routes: BulkRoutes) -> None:
    session = Session(stream, (BlobHead,), (GetBlob, TakeBlob))
    request = await session.receive()
    if not isinstance(request, GetBlob):
        raise ProtocolViolation("a blob was taken that nobody had asked for")
    try:
        store = grants.find(request.run, request.blob, stream.remote)
        size = store.size(request.blob)
    except NotFound:
        await session.send(BlobHead(-1))
        return
    with routes.invitation(stream.remote, request.run, size) as ticket:
        link = LinkTicket(ticket.ticket, ticket.certificate_sha256, ticket.port) if ticket else None
        await session.send(BlobHead(size, link))
        if ticket is not None and await _is_over_link(session):
            await routes.give(ticket, store.path(request.blob), size)
            return
    await _send_file(stream, routes, store, request.blob)


async def _is_over_link(session: Session) -> bool:
    answer = await session.receive()
    if not isinstance(answer, TakeBlob):
        raise ProtocolViolation("a second blob was asked for on one stream")
    return answer.over_link


async def _send_file(stream: Stream, routes: BulkRoutes, store: BlobStore, blob: BlobHash) -> None:
    share = Share(routes.rates.up)
    async with await trio.open_file(store.path(blob), "rb") as file:
        while piece := await file.read(share.piece(PIECE_BYTES)):
            await share.wait_here(Rank.BULK, len(piece))
            with _patience(blob):
                await stream.send_all(piece)


@contextmanager
def _patience(blob: BlobHash) -> Iterator[None]:
    """Turns a stall into TimedOut."""
    with trio.move_on_after(STALL_SECONDS) as scope:
        yield
    if scope.cancelled_caught:
        raise TimedOut(f"blob {short(blob)} did not move for {STALL_SECONDS:.0f} s")
