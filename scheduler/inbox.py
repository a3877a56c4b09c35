"""What has arrived at a stage and not been used yet."""

from __future__ import annotations

from collections import deque

from swarmd.protocols.errors import ProtocolViolation


class Inbox:
    """Numbered items by step: each number from 0 to ``size - 1`` once, given out in the order they came.

    Bounded by the caller, who accepts items of a few steps and forgets a step that is over.
    """

    def __init__(self, what: str, size: int) -> None:
        self.size = size
        self._what = what
        self._seen: dict[int, set[int]] = {}
        self._waiting: dict[int, deque[int]] = {}

    def add(self, step: int, number: int) -> None:
        """Keep an item. Raises ProtocolViolation for one that came before or is not of the set."""
        if not 0 <= number < self.size:
            raise ProtocolViolation(f"{self._what} {number} of step {step}: there are {self.size}")
        if number in self._seen.get(step, ()):
            raise ProtocolViolation(f"{self._what} {number} of step {step} came twice")
        self._seen.setdefault(step, set()).add(number)
        self._waiting.setdefault(step, deque()).append(number)

    def fill(self, step: int) -> None:
        """Keep every item of a step, in order."""
        for number in range(self.size):
            self.add(step, number)

    def take(self, step: int) -> int | None:
        """The oldest item of a step; None when there is none."""
        waiting = self._waiting.get(step)
        return waiting.popleft() if waiting else None

    def waiting(self, step: int) -> bool:
        """Whether an item of a step came and was not given out."""
        return bool(self._waiting.get(step))

    def emptied(self, step: int) -> bool:
        """Whether every item of a step came and was given out."""
        return len(self._seen.get(step, ())) == self.size and not self.waiting(step)

    def forget(self, step: int) -> None:
        """Drop a step that is over."""
        self._seen.pop(step, None)
        self._waiting.pop(step, None)
