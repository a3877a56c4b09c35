"""Which peers to be connected to: dial them, notice who came and went, and greet each newcomer once.

Wanted are the bootstrap contacts, for ever; peers somebody suggested, for a few attempts; and peers with
a live advert. Of two nodes that learn of each other at once, the one with the greater peer id holds back
its dial, so that they do not open two connections and each close one.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

import trio

from swarmd.net.transport import Transport
from swarmd.protocols.addresses import Contact, merged
from swarmd.protocols.errors import RemoteError
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.pacing import Retry, Waits

_LOG = logging.getLogger(__name__)

LOOK_EVERY = 1.0
"""Seconds between looks at who is connected."""
MIN_LOOK_INTERVAL = 0.05
"""Seconds between looks however much news there is."""
HOLD_BACK = 1.0
"""Seconds the greater of two peer ids waits for the other's dial."""
STABLE_AFTER = 10.0
"""Seconds a link must last before its next loss is treated as the first."""
MAX_SUGGESTED = 256
MAX_ATTEMPTS = 6
"""Dials of a suggested peer before it is forgotten."""
BOOTSTRAP_WAITS = Waits(first=0.5, longest=60.0)
WAITS = Waits(first=1.0, longest=300.0)
GREETING_WAITS = Waits(first=2.0, longest=300.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How many links to keep, and how patiently. Times in seconds."""

    max_links: int = 32
    """Nobody but a bootstrap contact is dialled beyond this many connections."""
    max_tasks: int = 8
    """Dials and greetings under way at once."""
    dial_timeout: float = 10.0
    bootstrap_waits: Waits = BOOTSTRAP_WAITS
    waits: Waits = WAITS
    greeting_waits: Waits = GREETING_WAITS


class Links:
    """Keeps this node connected.

    ``advertised`` gives contacts with live adverts; ``greet`` is called for every connected peer until it
    returns True, and again after a reconnect; it may raise RemoteError.
    """

    def __init__(
        self,
        transport: Transport,
        bootstrap: tuple[Contact, ...],
        advertised: Callable[[], Iterator[Contact]],
        greet: Callable[[PeerId], Awaitable[bool]],
        settings: LinkSettings | None = None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._transport, self._bootstrap = transport, merged(bootstrap)
        self._advertised, self._greet = advertised, greet
        self._settings = settings or LinkSettings()
        self._suggested: OrderedDict[PeerId, Contact] = OrderedDict()
        self._first_contacts = frozenset(contact.peer for contact in bootstrap)
        self._bootstrap_retry: Retry[PeerId] = Retry(self._settings.bootstrap_waits)
        self._retry: Retry[PeerId] = Retry(self._settings.waits)
        self._greeting: Retry[PeerId] = Retry(self._settings.greeting_waits)
        self._since: dict[PeerId, float] = {}
        self._greeted: set[PeerId] = set()
        self._busy: set[PeerId] = set()
        self._news = trio.Event()
        self._joined = trio.Event()

    def suggest(self, contact: Contact) -> None:
        """Dial a peer that somebody says exists; forgotten after a few failures."""
        if contact.peer != self._transport.peer_id and contact.addresses:
            self._suggested[contact.peer] = contact
            if len(self._suggested) > MAX_SUGGESTED:
                self._suggested.popitem(last=False)
            self.look()

    def look(self) -> None:
        """Look at once at who is wanted and connected."""
        self._news.set()

    async def wait_joined(self) -> None:
        """Return when a peer connects that was not connected before."""
        await self._joined.wait()

    async def run(self) -> None:
        """Keep links, for ever."""
        async with trio.open_nursery() as nursery:
            while True:
                self._news = trio.Event()
                self._note_changes()
                for peer in self._ungreeted():
                    self._start(nursery, peer, self._say_hello)
                for contact in self._due():
                    self._start(nursery, contact.peer, self._dial, contact)
                await trio.sleep(MIN_LOOK_INTERVAL)
                with trio.move_on_after(LOOK_EVERY):
                    await self._news.wait()

    def _note_changes(self) -> None:
        now, connected = trio.current_time(), self._transport.connected()
        joined = connected - self._since.keys()
        self._since = {peer: self._since.get(peer, now) for peer in connected}
        self._greeted &= connected
        for peer in joined:
            self._greeting.succeeded(peer)
        if joined:
            self._joined.set()
            self._joined = trio.Event()
        for peer, since in self._since.items():
            if now - since >= STABLE_AFTER:
                self._retry.succeeded(peer)
                self._bootstrap_retry.succeeded(peer)

    def _ungreeted(self) -> list[PeerId]:
        now = trio.current_time()
        waiting = (peer for peer in self._since if peer not in self._greeted and peer not in self._busy)
        due = [peer for peer in waiting if self._greeting.due(peer, now)]
        return due[: self._settings.max_tasks - len(self._busy)]

    def _due(self) -> Iterator[Contact]:
        now = trio.current_time()
        for contact in self._wanted():
            peer = contact.peer
            if len(self._busy) >= self._settings.max_tasks:
                return
            if peer in self._since or peer in self._busy or peer == self._transport.peer_id:
                continue
            if self._retry_of(peer).due(peer, now):
                yield contact

    def _wanted(self) -> Iterator[Contact]:
        yield from self._bootstrap
        if len(self._since) + len(self._busy) >= self._settings.max_links:
            return
        hold_back_until = trio.current_time() + HOLD_BACK
        for contact in [*self._suggested.values(), *self._advertised()]:
            if contact.peer < self._transport.peer_id and contact.peer not in self._first_contacts:
                self._retry.postpone(contact.peer, hold_back_until)
            yield contact

    def _retry_of(self, peer: PeerId) -> Retry[PeerId]:
        return self._bootstrap_retry if peer in self._first_contacts else self._retry

    def _start(self, nursery: trio.Nursery, peer: PeerId, task: Callable[..., Awaitable[None]], *args: Contact) -> None:
        self._busy.add(peer)
        nursery.start_soon(self._guarded, peer, task, *args)

    async def _guarded(self, peer: PeerId, task: Callable[..., Awaitable[None]], *args: Contact) -> None:
        try:
            await task(peer, *args)
        except RemoteError as error:
            _LOG.debug("%s: %s", short(peer), error)
        except Exception:  # noqa: BLE001 - the edge of what serves one peer
            self.counters["link_errors"] += 1
            _LOG.exception("in serving %s", short(peer))
        finally:
            self._busy.discard(peer)
            self.look()

    async def _say_hello(self, peer: PeerId) -> None:
        self._greeting.tried(peer, trio.current_time())
        if await self._greet(peer):
            self._greeted.add(peer)

    async def _dial(self, peer: PeerId, contact: Contact) -> None:
        self._retry_of(peer).tried(peer, trio.current_time())
        try:
            with trio.fail_after(self._settings.dial_timeout):
                await self._transport.dial(peer, contact.addresses)
            self._suggested.pop(peer, None)
        except (RemoteError, trio.TooSlowError) as error:
            self.counters["dials_failed"] += 1
            _LOG.debug("cannot reach %s: %s", short(peer), error)
            if self._retry.attempts(peer) >= MAX_ATTEMPTS:
                self._suggested.pop(peer, None)
