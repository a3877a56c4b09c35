"""The iterative lookup of Kademlia (Maymounkov and Mazieres, 2002): ask the nearest known, learn nearer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable

import trio
from libp2p.peer.id import ID

NEAREST = 20
_AT_ONCE = 8
_PER_PEER = 4.0
_MOST_ASKED = 60
"""Peers in one lookup: answers may name any number of peers that do not exist."""

Ask = Callable[[ID], Awaitable[list[ID] | None]]
"""Peers nearer to the key that a peer names; None if it cannot be reached."""


class Walk:
    """One lookup. ``answered`` holds the peers that answered, nearest first."""

    def __init__(self, key: bytes, start: Iterable[ID], ask: Ask, enough: Callable[[], bool]) -> None:
        self._target = int.from_bytes(hashlib.sha256(key).digest(), "big")
        self._ask, self._enough = ask, enough
        self._known = set(start)
        self._asked: set[ID] = set()
        self._replied: set[ID] = set()
        self._gone: set[ID] = set()
        self._flying = 0
        self._landed = trio.lowlevel.ParkingLot()

    async def run(self, limit: float) -> list[ID]:
        """Walk for at most ``limit`` seconds; the peers that answered, nearest first."""
        with trio.move_on_after(limit):
            async with trio.open_nursery() as nursery:
                while not self._enough() and (self._next() or self._flying):
                    peer = self._next()
                    if peer is None or self._flying >= _AT_ONCE:
                        await self._landed.park()
                        continue
                    self._asked.add(peer)
                    self._flying += 1
                    nursery.start_soon(self._question, peer)
                nursery.cancel_scope.cancel()
        return self._sorted(self._replied)

    def _next(self) -> ID | None:
        if len(self._asked) >= _MOST_ASKED:
            return None
        nearest = self._sorted(self._known - self._gone)[:NEAREST]
        return next((peer for peer in nearest if peer not in self._asked), None)

    async def _question(self, peer: ID) -> None:
        try:
            with trio.move_on_after(_PER_PEER):
                nearer = await self._ask(peer)
                if nearer is None:
                    self._gone.add(peer)
                else:
                    self._replied.add(peer)
                    self._known.update(self._sorted(nearer)[: 2 * NEAREST])
        finally:
            self._flying -= 1
            self._landed.unpark_all()

    def _sorted(self, peers: Iterable[ID]) -> list[ID]:
        return sorted(peers, key=lambda peer: int(peer.xor_id) ^ self._target)
