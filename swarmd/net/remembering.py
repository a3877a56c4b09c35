"""Adverts across restarts: a node that comes back finds its peers even when its first contacts are away."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

import trio

from swarmd.protocols.advert_book import AdvertBook
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import PeerId

_LOG = logging.getLogger(__name__)

KEEP_EVERY = 5.0
"""Seconds between looks at what is new in the book."""


class AdvertStore(Protocol):
    """Where adverts are kept, in bounded room."""

    async def put_advert(self, peer: PeerId, raw: bytes) -> None:
        """Keep a peer's newest advert. Raises StateError."""
        ...

    async def adverts(self) -> tuple[tuple[PeerId, bytes], ...]:
        """Peers and their adverts, latest heard of first. Raises StateError."""
        ...


async def recall_adverts(book: AdvertBook, store: AdvertStore, now: float) -> None:
    """Put into the book what is kept and still good at Unix time ``now``. Raises StateError."""
    for peer, raw in await store.adverts():
        book.accept(raw, now, owner=peer)


async def keep_adverts(book: AdvertBook, store: AdvertStore, clock: Callable[[], float]) -> None:
    """Keep the book's live adverts on disk, until cancelled. ``clock`` gives Unix time."""
    kept: dict[PeerId, bytes] = {}
    while True:
        live = {known.peer: known.raw for known in book.live(clock())}
        kept = {peer: raw for peer, raw in kept.items() if peer in live}
        try:
            for peer, raw in live.items():
                if kept.get(peer) != raw:
                    await store.put_advert(peer, raw)
                    kept[peer] = raw
        except StateError as error:
            _LOG.warning("adverts were not kept: %s", error)
        await trio.sleep(KEEP_EVERY)
