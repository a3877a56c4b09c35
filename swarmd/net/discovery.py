"""Finding the swarm: from one address to a book of verified adverts.

Adverts spread three ways, any of which suffices: neighbours swap theirs as soon as they connect and pass
on those they know; every node keeps its own in the hash table; and nodes offer themselves there under
their kind of device, for strangers to find. Whatever settles down is done more and more rarely.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

import trio

from swarmd.net.advert_exchange import AdvertExchange
from swarmd.net.directory import Directory, DirectorySettings
from swarmd.net.links import Links, LinkSettings
from swarmd.net.own_advert import OwnAdvert
from swarmd.net.transport import RecordStore, Transport
from swarmd.protocols.addresses import Contact
from swarmd.protocols.advert import PeerAdvert
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.errors import RemoteError
from swarmd.protocols.ids import NetworkId, PeerId, short
from swarmd.protocols.pacing import Waits

_LOG = logging.getLogger(__name__)

ASKING = Waits(first=0.25, longest=30.0)
RESTLESS = 5
"""After how many waits asking goes on when neighbours came or went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoverySettings:
    """How eagerly to look. Times in seconds."""

    links: LinkSettings = field(default_factory=LinkSettings)
    asking: Waits = ASKING
    """Between questions to neighbours about the adverts they know."""
    tell_at_most: int = 64
    """Neighbours told at once of a new advert of ours; the others ask or look it up."""
    directory: DirectorySettings = field(default_factory=DirectorySettings)


class Discovery:
    """Joins a node to its swarm. ``run`` is the service; ``suggest`` takes contacts from elsewhere."""

    def __init__(
        self,
        transport: Transport,
        store: RecordStore,
        book: AdvertBook,
        own: OwnAdvert,
        *,
        network: NetworkId,
        clock: Callable[[], float],
        bootstrap: tuple[Contact, ...] = (),
        settings: DiscoverySettings | None = None,
    ) -> None:
        """``clock`` gives Unix time. ``book`` should be told who we are, so that it leaves us out."""
        self._transport, self._store, self._book, self._own = transport, store, book, own
        self._clock = clock
        self._settings = settings or DiscoverySettings()
        self._links = Links(transport, bootstrap, self._advertised, self._greet, self._settings.links)
        self._exchange = AdvertExchange(transport, book, own, clock, self._links.look)
        self._directory = Directory(
            transport, store, book, own, self._exchange, self._links, network, clock, self._settings.directory
        )
        self._asked: dict[PeerId, float] = {}
        self._counters: Counter[str] = Counter()

    def suggest(self, contact: Contact) -> None:
        """Try a contact that came from outside, such as the local network; unproven and soon forgotten."""
        self._links.suggest(contact)

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name; those of the book under ``adverts_``."""
        book = {f"adverts_{name}": count for name, count in self._book.counters.items()}
        return {
            **book,
            **self._exchange.counters,
            **self._links.counters,
            **self._directory.counters,
            **self._counters,
        }

    async def run(self, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve adverts and look for peers, for ever. Started when other nodes' questions are answered."""
        self._exchange.serve()
        async with trio.open_nursery() as nursery:
            for service in (self._own.run, self._links.run, self._tell, self._ask, self._directory.run):
                nursery.start_soon(service)
            task_status.started()

    def _advertised(self) -> Iterator[Contact]:
        for known in self._book.live(self._clock()):
            if known.advert.addresses:
                yield Contact(known.peer, known.advert.addresses)

    async def _greet(self, peer: PeerId) -> bool:
        """What a newly connected peer gets: our advert, a question, a place in the routing table."""
        swapped = await self._exchange.swap(peer)
        await self._ask_one(peer)
        await self._store.add_peer(peer)
        return swapped

    async def _ask_one(self, peer: PeerId) -> None:
        self._asked[peer] = trio.current_time()
        if self._exchange.trusts(peer):
            await self._exchange.ask(peer)

    async def _tell(self) -> None:
        """Send every new advert of ours to the neighbours."""
        told: PeerAdvert | None = None
        limiter = trio.CapacityLimiter(self._settings.links.max_tasks)
        while True:
            told = await self._own.next_issue(told)
            async with trio.open_nursery() as nursery:
                for peer in sorted(self._transport.connected())[: self._settings.tell_at_most]:
                    nursery.start_soon(self._quietly, limiter, self._exchange.swap, peer)

    async def _ask(self) -> None:
        """Ask the neighbours in turn for adverts they know; more rarely while they stay the same."""
        attempts, neighbours = 0, self._transport.connected()
        limiter = trio.CapacityLimiter(1)
        while True:
            attempts += 1
            await trio.sleep(self._settings.asking.after(attempts))
            if neighbours != (neighbours := self._transport.connected()):
                attempts = min(attempts, RESTLESS)
            self._asked = {peer: when for peer, when in self._asked.items() if peer in neighbours}
            if neighbours:
                longest_ago = min(neighbours, key=lambda peer: (self._asked.get(peer, 0.0), peer))
                await self._quietly(limiter, self._ask_one, longest_ago)

    async def _quietly(
        self, limiter: trio.CapacityLimiter, act: Callable[[PeerId], Awaitable[object]], peer: PeerId
    ) -> None:
        async with limiter:
            try:
                await act(peer)
            except RemoteError as error:
                self._counters["peers_unhelpful"] += 1
                _LOG.debug("%s: %s", short(peer), error)
            except Exception:  # noqa: BLE001 - the edge of what serves one peer
                self._counters["link_errors"] += 1
                _LOG.exception("in serving %s", short(peer))
