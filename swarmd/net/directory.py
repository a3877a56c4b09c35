"""The hash table's part in discovery: our advert kept in it, our kind of device offered, strangers found."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from swarmd.net.advert_exchange import AdvertExchange
from swarmd.net.links import Links
from swarmd.net.own_advert import OwnAdvert
from swarmd.net.transport import RecordStore, Transport
from swarmd.protocols.addresses import Contact, is_dialable
from swarmd.protocols.advert import KINDS, MAX_ADDRESSES, PeerAdvert, advert_key
from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.errors import SwarmdError
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.protocols.pacing import Waits

_LOG = logging.getLogger(__name__)

T = TypeVar("T")

STORE_TIMEOUT = 30.0
"""Seconds one operation of the hash table may take."""
SEARCHING = Waits(first=1.0, longest=300.0)
PUBLISHING = Waits(first=1.0, longest=60.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class DirectorySettings:
    """How eagerly to use the hash table. Times in seconds."""

    searching: Waits = SEARCHING
    """Between searches."""
    publishing: Waits = PUBLISHING
    """Between attempts to store our advert."""
    offer_every: float = 1800.0
    """Between offers of our kind of device; the table forgets one after two days."""
    strangers_per_search: int = 16
    """Unknown peers one search looks into."""


class Directory:
    """Keeps this node findable in the hash table, and finds others there."""

    def __init__(
        self,
        transport: Transport,
        store: RecordStore,
        book: AdvertBook,
        own: OwnAdvert,
        exchange: AdvertExchange,
        links: Links,
        network: NetworkId,
        clock: Callable[[], float],
        settings: DirectorySettings,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport, self._store, self._book, self._own = transport, store, book, own
        self._exchange, self._links = exchange, links
        self._network, self._clock, self._settings = network, clock, settings

    async def run(self) -> None:
        """Publish and search, for ever."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._publish)
            nursery.start_soon(self._search)

    async def _publish(self) -> None:
        issue: PeerAdvert | None = None
        offered: float | None = None
        while True:
            issue = await self._own.next_issue(issue)
            if not await self._put(issue):
                continue
            if offered is None or trio.current_time() - offered >= self._settings.offer_every:
                offered = trio.current_time()
                key = provider_key(self._network, issue.advert.device.kind)
                await self._try(self._store.provide, key)

    async def _put(self, issue: PeerAdvert) -> bool:
        """Store an issue of our advert; False if a newer one is out before any peer took it."""
        attempts = 0
        while self._own.current is issue:
            if self._transport.connected():
                attempts += 1
                if await self._try(self._store.put, advert_key(issue.peer), issue.raw):
                    self.counters["adverts_published"] += 1
                    return True
            with trio.move_on_after(self._settings.publishing.after(attempts)):
                await self._links.wait_joined()
        return False

    async def _search(self) -> None:
        searches = 0
        while True:
            if not self._transport.connected():
                searches = 0
                await self._links.wait_joined()
            searches += 1
            await trio.sleep(self._settings.searching.after(searches))
            for peer, addresses in (await self._strangers()).items():
                await self._look_into(peer, addresses)

    async def _strangers(self) -> dict[PeerId, tuple[str, ...]]:
        """Peers that offer a device and of which we hold no live advert, at most so many."""
        self.counters["searches"] += 1
        now, found = self._clock(), dict[PeerId, tuple[str, ...]]()
        for kind in KINDS:
            offers = await self._try(self._store.providers, provider_key(self._network, kind))
            for peer, addresses in offers or ():
                if peer != self._own.peer and not self._book.is_live(peer, now):
                    found[peer] = addresses
        return dict(list(found.items())[: self._settings.strangers_per_search])

    async def _look_into(self, peer: PeerId, addresses: tuple[str, ...]) -> None:
        raw = await self._try(self._store.get, advert_key(peer))
        if raw is not None:
            self._exchange.take_in(raw, owner=peer)
        if not self._book.is_live(peer, self._clock()):
            dialable = tuple(address for address in addresses if is_dialable(address))
            self._links.suggest(Contact(peer, dialable[:MAX_ADDRESSES]))

    async def _try(self, operation: Callable[..., Awaitable[T]], *args: str | bytes) -> T | None:
        try:
            with trio.move_on_after(STORE_TIMEOUT):
                return await operation(*args)
        except SwarmdError as error:
            _LOG.debug("hash table: %s", error)
        except Exception:  # noqa: BLE001 - the edge of what asks strangers
            _LOG.exception("in asking the hash table")
        self.counters["directory_failures"] += 1
        return None


def provider_key(network: NetworkId, kind: str) -> str:
    """Under what a node with this kind of device is found."""
    return f"swarmd/{network}/{kind}"
