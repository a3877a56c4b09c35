"""Our own advert: signed anew when what it says changes, and at half of its life."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import trio

from swarmd.protocols.advert import Advert, PeerAdvert, sign_advert
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.protocols.signing import Sign

LIFETIME = 3600
"""Seconds; a peer that vanishes is listed for at most this long."""
MIN_INTERVAL = 2.0
"""Seconds between issues, however often the description changes: each issue is sent to every neighbour."""


class OwnAdvert:
    """Issues our advert. ``describe`` gives it with sequence and times left open, or None while unknown."""

    def __init__(
        self,
        network: NetworkId,
        peer: PeerId,
        key: Sign,
        describe: Callable[[], Advert | None],
        clock: Callable[[], float],
        lifetime: int = LIFETIME,
    ) -> None:
        """``clock`` gives Unix time; ``lifetime`` is in seconds, at most ``advert.MAX_LIFETIME``."""
        self.peer = peer
        self.current: PeerAdvert | None = None
        self._network, self._key = network, key
        self._describe, self._clock, self._lifetime = describe, clock, lifetime
        self._sequence = 0
        self._changed = trio.Event()
        self._issued = trio.Event()

    @property
    def raw(self) -> bytes:
        """The signed bytes now in force; empty before the first issue."""
        return self.current.raw if self.current else b""

    def changed(self) -> None:
        """What ``describe`` gives has changed: issue soon."""
        self._changed.set()

    def overtake(self, sequence: int) -> None:
        """A valid advert of ours with this sequence is about: issue one after it.

        It is left from an earlier life of this node, when its clock was ahead.
        """
        if self.current is None or sequence > self.current.advert.sequence:
            self._sequence = max(self._sequence, sequence)
            self._changed.set()

    async def next_issue(self, known: PeerAdvert | None) -> PeerAdvert:
        """The current advert, as soon as it is another than ``known``."""
        while self.current is None or self.current is known:
            await self._issued.wait()
        return self.current

    async def run(self) -> None:
        """Issue, for ever."""
        while True:
            self._changed = trio.Event()
            if (described := self._describe()) is not None:
                self._issue(described)
            await trio.sleep(MIN_INTERVAL if self.current else 0)
            with trio.move_on_after(self._lifetime / 2):
                await self._changed.wait()

    def _issue(self, described: Advert) -> None:
        now = self._clock()
        self._sequence = max(self._sequence + 1, int(now * 1000))  # rises across restarts too
        advert = replace(described, sequence=self._sequence, issued_at=int(now), expires_at=int(now) + self._lifetime)
        self.current = PeerAdvert(self.peer, advert, sign_advert(advert, self._network, self.peer, self._key))
        self._issued.set()
        self._issued = trio.Event()
