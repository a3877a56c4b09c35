"""The adverts a node believes, one per peer, in bounded room.

Identities cost nothing, so room is what an attacker fills. Each entry therefore remembers who handed it
in: *first-hand* when the peer itself did, else by *hearsay* of another. A full book makes room by this
rule, and says which entry went:

    1. an expired entry, the one longest expired;
    2. for a first-hand advert: the oldest hearsay of whoever has most hearsay in the book;
    3. for hearsay: the same, but only if that source has at least two more entries than its own source;
    4. else the newcomer is refused as ``full``.

So nobody's hearsay displaces what a peer said itself, and one loud source displaces only itself.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Literal

from swarmd.protocols.advert import (
    CLOCK_SKEW,
    MAX_LIFETIME,
    BadAdvert,
    BadReason,
    PeerAdvert,
    verify_advert,
)
from swarmd.protocols.ids import NetworkId, PeerId

Reason = Literal[BadReason, "replayed", "full"]

FIRST_HAND = PeerId("")
"""The source of what a peer said itself."""
UNKNOWN = PeerId("?")
"""The source of what nobody answers for, such as the hash table."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an advert handed to the book."""

    status: Literal["new", "same", "own", "refused"]
    advert: PeerAdvert | None = None
    """The advert, if its signature holds and it has not expired."""
    reason: Reason | None = None
    """Why it was refused."""
    evicted: PeerId | None = None
    """Whose entry made room for it."""
    detail: str = ""
    """The reason in words."""

    @property
    def dishonest(self) -> bool:
        """Whether nobody who checks adverts before passing them on would have handed it over."""
        return self.reason in ("oversized", "malformed", "forged")


@dataclass(frozen=True, slots=True)
class _Entry:
    advert: PeerAdvert
    source: PeerId

    @property
    def expires_at(self) -> int:
        return self.advert.advert.expires_at


class AdvertBook:
    """The newest believed advert of every peer, at most ``max_peers`` of them. Times are Unix seconds."""

    def __init__(self, network: NetworkId, me: PeerId | None = None, max_peers: int = 1024) -> None:
        """Adverts of ``me`` are verified but not kept: their outcome is ``own``."""
        self._network = network
        self._me = me
        self._max_peers = max_peers
        self._entries: dict[PeerId, _Entry] = {}  # in order of first arrival
        self._by_bytes: dict[bytes, PeerId] = {}
        self.counters: Counter[str] = Counter()
        """How many adverts were ``new``, ``same``, ``own``, ``evicted``, or refused, by reason."""

    def accept(self, raw: bytes, now: float, *, owner: PeerId | None = None, source: PeerId = UNKNOWN) -> Outcome:
        """Take in an advert, if it is good.

        Args:
            raw: signed bytes from anywhere.
            now: Unix seconds.
            owner: whose advert it must be, when that is known.
            source: the peer that handed it over; equal to the signer, it makes the entry first-hand.
        """
        outcome = self._judge(raw, now, owner, source)
        self.counters[outcome.reason or outcome.status] += 1
        self.counters["evicted"] += outcome.evicted is not None
        return outcome

    def get(self, peer: PeerId) -> PeerAdvert | None:
        """The peer's newest advert, perhaps expired."""
        entry = self._entries.get(peer)
        return entry.advert if entry else None

    def live(self, now: float) -> tuple[PeerAdvert, ...]:
        """All adverts that have not expired, in order of first arrival."""
        return tuple(entry.advert for entry in self._entries.values() if entry.expires_at > now)

    def is_live(self, peer: PeerId, now: float) -> bool:
        """Whether the book holds an advert of the peer that has not expired."""
        entry = self._entries.get(peer)
        return entry is not None and entry.expires_at > now

    def forget_expired(self, now: float) -> None:
        """Drop entries that nothing older than them can replace any more.

        An expired entry still tells a replay of an older advert from a new one. Older ones were issued
        before it, so all of them have expired once the longest lifetime has passed since its issue.
        """
        horizon = now - MAX_LIFETIME - CLOCK_SKEW
        gone = [peer for peer, entry in self._entries.items() if entry.advert.advert.issued_at < horizon]
        for peer in gone:
            self._drop(peer)

    def __len__(self) -> int:
        """How many peers have an entry, live or expired."""
        return len(self._entries)

    def _judge(self, raw: bytes, now: float, owner: PeerId | None, source: PeerId) -> Outcome:
        known = self._by_bytes.get(raw)  # bytes that were verified once need no second look
        if known is not None and owner in (None, known) and self.is_live(known, now):
            self._store(self._entries[known].advert, FIRST_HAND if source == known else source)
            return Outcome("same", self._entries[known].advert)
        try:
            advert = verify_advert(raw, self._network, now, owner)
        except BadAdvert as error:
            return Outcome("refused", reason=error.reason, detail=error.message)
        if advert.peer == self._me:
            return Outcome("own", advert)
        return self._place(advert, now, FIRST_HAND if source == advert.peer else source)

    def _place(self, advert: PeerAdvert, now: float, source: PeerId) -> Outcome:
        known = self._entries.get(advert.peer)
        if known is None:
            return self._add(advert, now, source)
        if advert.advert.sequence <= known.advert.advert.sequence:
            detail = f"sequence {advert.advert.sequence} is not after {known.advert.advert.sequence}"
            return Outcome("refused", advert, "replayed", detail=detail)
        self._store(advert, source)
        return Outcome("new", advert)

    def _add(self, advert: PeerAdvert, now: float, source: PeerId) -> Outcome:
        evicted = None
        if len(self._entries) >= self._max_peers:
            evicted = self._longest_expired(now) or self._oldest_of_the_loudest(source)
            if evicted is None:
                detail = f"the book holds {self._max_peers} peers with a better claim"
                return Outcome("refused", advert, "full", detail=detail)
            self._drop(evicted)
        self._store(advert, source)
        return Outcome("new", advert, evicted=evicted)

    def _store(self, advert: PeerAdvert, source: PeerId) -> None:
        known = self._entries.get(advert.peer)
        if known is not None:
            del self._by_bytes[known.advert.raw]
            source = source if source == FIRST_HAND else known.source
        self._entries[advert.peer] = _Entry(advert, source)
        self._by_bytes[advert.raw] = advert.peer

    def _drop(self, peer: PeerId) -> None:
        del self._by_bytes[self._entries.pop(peer).advert.raw]

    def _longest_expired(self, now: float) -> PeerId | None:
        peer, entry = min(self._entries.items(), key=lambda item: item[1].expires_at)
        return peer if entry.expires_at <= now else None

    def _oldest_of_the_loudest(self, newcomer: PeerId) -> PeerId | None:
        hearsay = Counter(entry.source for entry in self._entries.values() if entry.source != FIRST_HAND)
        if not hearsay:
            return None
        loudest, entries = hearsay.most_common(1)[0]
        if newcomer != FIRST_HAND and entries < hearsay[newcomer] + 2:
            return None
        return next(peer for peer, entry in self._entries.items() if entry.source == loudest)
