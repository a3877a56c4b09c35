"""When to try again, and how often a peer may ask. Times are seconds of any clock that only moves forward.

Both remember a bounded number of peers; past the bound, whoever was dealt with longest ago is forgotten.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True)
class Waits:
    """Waiting times that double from ``first`` to ``longest``, in seconds."""

    first: float
    longest: float

    def after(self, attempts: int) -> float:
        """The wait after that many attempts in a row."""
        return min(self.longest, self.first * 2.0 ** min(max(attempts - 1, 0), 60))


class Retry(Generic[Key]):
    """Spaces out attempts at each of many things."""

    def __init__(self, waits: Waits, max_keys: int = 1024) -> None:
        self._waits = waits
        self._max_keys = max_keys
        self._tried: OrderedDict[Key, tuple[int, float]] = OrderedDict()  # attempts, when the next is due

    def due(self, key: Key, now: float) -> bool:
        """Whether an attempt may start."""
        return key not in self._tried or self._tried[key][1] <= now

    def attempts(self, key: Key) -> int:
        """Attempts since the last success."""
        return self._tried[key][0] if key in self._tried else 0

    def tried(self, key: Key, now: float) -> None:
        """An attempt starts, or has failed, now."""
        attempts = self.attempts(key) + 1
        self._note(key, attempts, now + self._waits.after(attempts))

    def postpone(self, key: Key, until: float) -> None:
        """Hold back the first attempt at a key never tried; do nothing for any other."""
        if key not in self._tried:
            self._note(key, 0, until)

    def succeeded(self, key: Key) -> None:
        """The next attempt, should one be needed, may start at once."""
        self._tried.pop(key, None)

    def _note(self, key: Key, attempts: int, due: float) -> None:
        self._tried[key] = (attempts, due)
        self._tried.move_to_end(key)
        if len(self._tried) > self._max_keys:
            self._tried.popitem(last=False)


class RateLimit(Generic[Key]):
    """A token bucket for each of many peers: ``burst`` requests at once, ``per_second`` in the long run."""

    def __init__(self, per_second: float, burst: int, max_keys: int = 1024) -> None:
        self._per_second = per_second
        self._burst = burst
        self._max_keys = max_keys
        self._buckets: OrderedDict[Key, tuple[float, float]] = OrderedDict()  # tokens, when counted

    def allow(self, key: Key, now: float) -> bool:
        """Whether a request is within the limit; if so, it is counted."""
        tokens, then = self._buckets.pop(key, (float(self._burst), now))
        tokens = min(float(self._burst), tokens + (now - then) * self._per_second)
        allowed = tokens >= 1
        self._buckets[key] = (tokens - allowed, now)
        if len(self._buckets) > self._max_keys:
            self._buckets.popitem(last=False)
        return allowed
