"""Large blobs over links of their own: who gets a ticket, and whose tensor port is worth a try."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from swarmd.net.tensorlink import (
    NO_CAPS,
    Connection,
    Flow,
    LinkSpec,
    Rates,
    TensorListener,
    Ticket,
    dial_link,
    send_bulk,
)
from swarmd.net.transport import Transport
from swarmd.protocols.errors import Refused, RemoteError, StateError
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.messages import LinkTicket
from swarmd.protocols.pacing import Retry, Waits

LARGE_BYTES = 1 << 20
"""From here on a link is worth the round trips that it takes to open."""
_DIAL_SECONDS = 4.0
_AFTER_FAILURE = Waits(first=60.0, longest=1800.0)


class BulkRoutes:
    """How blobs travel between this node and others, under the node's rates."""

    def __init__(self, transport: Transport, tensors: TensorListener, rates: Rates = NO_CAPS) -> None:
        self.transport, self.rates = transport, rates
        self._tensors = tensors
        self._unreachable: Retry[PeerId] = Retry(_AFTER_FAILURE)

    @contextmanager
    def invitation(self, peer: PeerId, run: RunId, size: int) -> Iterator[Ticket | None]:
        """A ticket for the block, with which a peer may fetch so many bytes; None where the stream must do."""
        ticket = self._ticket(peer, run) if size >= LARGE_BYTES else None
        try:
            yield ticket
        finally:
            if ticket is not None:
                self._tensors.withdraw(ticket)

    async def give(self, ticket: Ticket, path: Path, size: int) -> None:
        """Send a file over the link that the peer has opened. Raises PeerLost or TimedOut."""
        with path.open("rb") as file:
            await send_bulk(await self._tensors.accept(ticket), file, size, self.rates.up)

    async def reach(self, peer: PeerId, run: RunId, link: LinkTicket) -> Connection | None:
        """A connection to the peer's tensor port; None when there is none, which is remembered for a while."""
        if not self._unreachable.due(peer, trio.current_time()):
            return None
        with trio.move_on_after(_DIAL_SECONDS):
            for host in self._hosts(peer):
                try:
                    ticket = Ticket(link.ticket, link.certificate, link.port)
                    connection = await dial_link(host, ticket, LinkSpec(peer, run, Flow.TO_DIALLER))
                except RemoteError:
                    continue
                self._unreachable.succeeded(peer)
                return connection
        self._unreachable.tried(peer, trio.current_time())
        return None

    def _ticket(self, peer: PeerId, run: RunId) -> Ticket | None:
        try:
            return self._tensors.issue_ticket(LinkSpec(peer, run, Flow.TO_DIALLER))
        except (Refused, StateError):
            return None

    def _hosts(self, peer: PeerId) -> tuple[str, ...]:
        """Where the peer's connections come from or go to, as IP addresses."""
        parts = (address.split("/") for address in self.transport.remote_addresses(peer))
        return tuple(dict.fromkeys(each[2] for each in parts if each[1] in ("ip4", "ip6")))
