"""Tickets: who may open which link, once, within half a minute."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from hmac import compare_digest

import trio

from swarmd.net.tensorlink.connection import Connection
from swarmd.protocols.errors import Refused
from swarmd.protocols.ids import PeerId, RunId

TICKET_BYTES = 32


class Flow(Enum):
    """Which end of a connection sends tensors; either end may be the one that can be dialled."""

    TO_LISTENER = "to listener"
    TO_DIALLER = "to dialler"


@dataclass(frozen=True, slots=True)
class LinkSpec:
    """One direction between us and a peer, for one run."""

    peer: PeerId
    """The other end."""
    run: RunId
    flow: Flow


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a peer must know to open a link to us. It is a secret: send it on an authenticated stream only."""

    ticket: bytes = field(repr=False)
    certificate_sha256: bytes
    port: int


@dataclass(slots=True)
class Offer:
    """A ticket we issued, and the connection that showed it."""

    secret: bytes = field(repr=False)
    link: LinkSpec
    expires: float
    spent: bool = False
    arrived: trio.Event = field(default_factory=trio.Event)
    claimed: trio.Event = field(default_factory=trio.Event)
    connection: Connection | None = None


class TicketBook:
    """Offers: bounded in all and per peer, each ticket good once and until it expires."""

    def __init__(
        self,
        *,
        lifetime: float = 30.0,
        limit: int = 256,
        per_peer: int = 16,
        clock: Callable[[], float] = trio.current_time,
    ) -> None:
        """``lifetime`` in seconds of ``clock``."""
        self._lifetime, self._limit, self._per_peer = lifetime, limit, per_peer
        self._clock = clock
        self._offers: dict[bytes, Offer] = {}

    @property
    def outstanding(self) -> int:
        """Tickets that would be taken now."""
        self._forget_expired()
        return sum(not offer.spent for offer in self._offers.values())

    def issue(self, link: LinkSpec) -> Offer:
        """A new ticket. Raises Refused when too many are outstanding."""
        self._forget_expired()
        held = sum(offer.link.peer == link.peer for offer in self._offers.values())
        if held >= self._per_peer or len(self._offers) >= self._limit:
            raise Refused("too many tensor links are being opened", hint="wait until one is open or its ticket expires")
        offer = Offer(secrets.token_bytes(TICKET_BYTES), link, self._clock() + self._lifetime)
        self._offers[offer.secret] = offer
        return offer

    def redeem(self, shown: bytes) -> Offer | None:
        """The offer of a ticket, which is then spent; None for a ticket never issued, spent or expired."""
        self._forget_expired()
        matches = [offer for offer in self._offers.values() if compare_digest(offer.secret, shown)]
        if not matches or matches[0].spent:
            return None
        matches[0].spent = True
        return matches[0]

    def find(self, secret: bytes) -> Offer | None:
        """An offer, spent or not, that has neither expired nor been withdrawn."""
        self._forget_expired()
        return self._offers.get(secret)

    def withdraw(self, offer: Offer) -> None:
        """Forget an offer, if it is still there."""
        self._offers.pop(offer.secret, None)

    def _forget_expired(self) -> None:
        now = self._clock()
        self._offers = {key: offer for key, offer in self._offers.items() if offer.expires > now}
