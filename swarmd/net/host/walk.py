"""The iterative lookup of Kademlia (Maymounkov and Mazieres, 2002): ask the nearest known, learn nearer."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable, Iterable

import trio
from libp2p.peer.id import ID

NEAREST = 20
_AT_ONCE = 8
_PER_PEER = 4.0
_GRACE = 0.25
"""Seconds that peers still asked have to answer once there is an answer: nobody waits for the slowest."""
_MOST_ASKED = 60
"""Peers in one lookup: answers may name any number of peers that do not exist."""

Ask = Callable[[ID], Awaitable[list[ID] | None]]
"""Peers nearer to the key that a peer names; None if it cannot be reached."""


def never() -> bool:
    """For a lookup that only ends when nobody nearer is left to ask."""
    return False


class Walk:
    """One lookup: it ends when ``enough()``, soon after ``found()``, or when nobody nearer is left to ask."""

    def __init__(
        self,
        key: bytes,
        start: Iterable[ID],
        ask: Ask,
        enough: Callable[[], bool] = never,
        *,
        found: Callable[[], bool] = never,
    ) -> None:
        self._target = int.from_bytes(hashlib.sha256(key).digest(), "big")
        self._ask, self._enough, self._found = ask, enough, found
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
                        if not await self._news():
                            break
                        continue
                    self._asked.add(peer)
                    self._flying += 1
                    nursery.start_soon(self._question, peer)
                nursery.cancel_scope.cancel()
        return self._sorted(self._replied)

    async def _news(self) -> bool:
        """Wait for an answer; False if none comes in time while we have what we look for."""
        with trio.move_on_after(_GRACE if self._found() else float("inf")) as scope:
            await self._landed.park()
        return not scope.cancelled_caught

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
