"""Gossip that waits for its judge: a bounded queue for each neighbour, served in turn."""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from dataclasses import dataclass

import trio

from swarmd.net.seen import Sighting
from swarmd.protocols.ids import PeerId

_MOST_MESSAGES = 256
_MOST_BYTES = 1 << 20
"""Of one neighbour."""
_MOST_BYTES_IN_ALL = 32 << 20
_AT_ONCE_PER_SENDER = 4
"""Judges at work on one neighbour's messages, so that slow ones leave room for the others'."""


@dataclass(frozen=True, slots=True)
class Letter:
    """A message on its way to its judge."""

    sender: PeerId
    topic: str
    message: bytes
    digest: bytes
    sighting: Sighting


class Inbox:
    """Letters by neighbour."""

    def __init__(self) -> None:
        self._letters: OrderedDict[PeerId, deque[Letter]] = OrderedDict()
        self._bytes: Counter[PeerId] = Counter()
        self._judged: Counter[PeerId] = Counter()
        self._changed = trio.lowlevel.ParkingLot()
        self._total = 0

    def full(self, sender: PeerId) -> bool:
        """Whether nothing more of a neighbour is taken now."""
        many = len(self._letters.get(sender, ())) >= _MOST_MESSAGES or self._bytes[sender] >= _MOST_BYTES
        return many or self._total >= _MOST_BYTES_IN_ALL

    async def room(self, sender: PeerId) -> None:
        """Wait until it is not full."""
        while self.full(sender):
            await self._changed.park()

    def put(self, letter: Letter) -> None:
        """Queue a letter."""
        self._letters.setdefault(letter.sender, deque()).append(letter)
        self._count(letter.sender, len(letter.message))

    async def take(self) -> Letter:
        """The next letter, of each neighbour in turn; ``done`` must be called for it."""
        while True:
            for sender in self._letters:
                if self._judged[sender] < _AT_ONCE_PER_SENDER:
                    return self._take_from(sender)
            await self._changed.park()

    def done(self, letter: Letter) -> None:
        """A letter has been dealt with."""
        self._judged[letter.sender] -= 1
        if not self._judged[letter.sender]:
            del self._judged[letter.sender]
        self._changed.unpark_all()

    def _take_from(self, sender: PeerId) -> Letter:
        letters = self._letters.pop(sender)
        letter = letters.popleft()
        if letters:
            self._letters[sender] = letters
        self._judged[sender] += 1
        self._count(sender, -len(letter.message))
        return letter

    def _count(self, sender: PeerId, size: int) -> None:
        self._bytes[sender] += size
        self._total += size
        if not self._bytes[sender]:
            del self._bytes[sender]
        self._changed.unpark_all()
