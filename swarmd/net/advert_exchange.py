"""Adverts from node to node: hand over ours, take theirs, ask for those of others.

Whatever a peer sends goes through the book, which believes signatures only. A peer that hands over
what no checking node would have kept is not asked again for a while.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import trio

from swarmd.net.own_advert import OwnAdvert
from swarmd.net.rpc import RpcHandler, call, serve_rpc
from swarmd.net.transport import Transport
from swarmd.protocols.advert_book import UNKNOWN, AdvertBook, Outcome
from swarmd.protocols.advert_messages import (
    ADVERT_PROTOCOL,
    MAX_BATCH,
    Adverts,
    GetAdvert,
    KnownAdverts,
    OwnAdvertIs,
)
from swarmd.protocols.errors import Refused
from swarmd.protocols.ids import PeerId
from swarmd.protocols.pacing import RateLimit, Retry, Waits

REQUESTS_PER_SECOND = 1.0
BURST = 20
PAGES_PER_ASK = 4
DISTRUST = Waits(first=60.0, longest=3600.0)
"""How long a peer is not asked for hearsay after it handed over a bad advert."""


class AdvertExchange:
    """Both ends of ``/swarmd/advert/1``. ``clock`` gives Unix time; ``learned`` is called after news."""

    def __init__(
        self,
        transport: Transport,
        book: AdvertBook,
        own: OwnAdvert,
        clock: Callable[[], float],
        learned: Callable[[], None],
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport, self._book, self._own = transport, book, own
        self._clock, self._learned = clock, learned
        self._rate: RateLimit[PeerId] = RateLimit(REQUESTS_PER_SECOND, BURST)
        self._distrust: Retry[PeerId] = Retry(DISTRUST)
        self._next_page = ""

    def serve(self) -> None:
        """Answer other nodes from now on."""
        handlers: dict[type, RpcHandler] = {GetAdvert: self._on_get, KnownAdverts: self._on_known}
        serve_rpc(self._transport, ADVERT_PROTOCOL, handlers, timeout=5.0)

    async def swap(self, peer: PeerId) -> bool:
        """Hand over our advert and take in the peer's; whether we hold a live one now. Raises RemoteError."""
        answer = await call(self._transport, peer, ADVERT_PROTOCOL, GetAdvert(self._own.raw), OwnAdvertIs, timeout=5.0)
        self.counters["adverts_swapped"] += 1
        if answer.advert:
            self.take_in(answer.advert, owner=peer, source=peer)
        return self._book.is_live(peer, self._clock())

    def trusts(self, peer: PeerId) -> bool:
        """Whether the peer may be asked about others."""
        return self._distrust.due(peer, trio.current_time())

    async def ask(self, peer: PeerId) -> None:
        """Take in some of the adverts a peer knows, going on where the last question ended.

        At most PAGES_PER_ASK batches; the first advert that no honest node passes on ends it.

        Raises:
            RemoteError: as ``rpc.call``.
        """
        for _ in range(PAGES_PER_ASK):
            question = KnownAdverts(self._next_page, MAX_BATCH)
            answer = await call(self._transport, peer, ADVERT_PROTOCOL, question, Adverts, timeout=5.0)
            honest = self._take_batch(peer, answer)
            forward = answer.last > self._next_page
            self._next_page = answer.last if forward and honest else ""
            if not self._next_page:
                return

    def take_in(self, raw: bytes, *, owner: PeerId | None = None, source: PeerId = UNKNOWN) -> Outcome:
        """Put an advert into the book, and tell whoever waits for news."""
        outcome = self._book.accept(raw, self._clock(), owner=owner, source=source)
        if outcome.status == "new":
            self._learned()
        elif outcome.status == "own" and outcome.advert is not None:
            self._own.overtake(outcome.advert.advert.sequence)
        return outcome

    def _take_batch(self, peer: PeerId, batch: Adverts) -> bool:
        for raw in batch.adverts:
            if self.take_in(raw, source=peer).dishonest:
                self.counters["batches_abandoned"] += 1
                self._distrust.tried(peer, trio.current_time())
                return False
        return True

    async def _on_get(self, peer: PeerId, request: GetAdvert) -> OwnAdvertIs:
        self._admit(peer)
        if request.own:
            outcome = self.take_in(request.own, owner=peer, source=peer)
            if outcome.dishonest:
                raise Refused(outcome.detail)
        return OwnAdvertIs(self._own.raw)

    async def _on_known(self, peer: PeerId, request: KnownAdverts) -> Adverts:
        self._admit(peer)
        live = {known.peer: known.raw for known in self._book.live(self._clock()) if known.peer != peer}
        page = sorted(name for name in live if name > request.after)[: request.limit]
        more = len(page) == request.limit
        return Adverts(tuple(live[name] for name in page), page[-1] if more else "")

    def _admit(self, peer: PeerId) -> None:
        if not self._rate.allow(peer, trio.current_time()):
            self.counters["requests_over_rate"] += 1
            raise Refused("too many questions about adverts", hint=f"ask at most {REQUESTS_PER_SECOND:g}/s")
