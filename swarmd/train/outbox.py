"""What a replica has to say to the others, until there are slots for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from swarmd.protocols.tensors import Direction


@dataclass(frozen=True, slots=True)
class Notice:
    """A frame to another replica."""

    to: int
    direction: Direction
    step: int
    index: int
    values: bytes


class Outbox:
    """Notices in the order they were added; each is made when its turn comes, so a long part takes no memory."""

    def __init__(self) -> None:
        self._due: deque[Iterator[Notice]] = deque()
        self._next: Notice | None = None

    @property
    def empty(self) -> bool:
        """Whether all was sent."""
        return self._peek() is None

    def add(self, notices: Iterable[Notice]) -> None:
        """Say these after all that waits."""
        self._due.append(iter(notices))

    def send(self, room: Callable[[Notice], bool]) -> None:
        """Give ``room`` what waits, until it has none, which it says with False."""
        while (notice := self._peek()) is not None and room(notice):
            self._next = None

    def _peek(self) -> Notice | None:
        while self._next is None and self._due:
            self._next = next(self._due[0], None)
            if self._next is None:
                self._due.popleft()
        return self._next
