"""Keeping an upload under a rate that its owner set."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable


class Pacer:
    """A rate shared by every link that is given it; may be used from any thread."""

    def __init__(
        self,
        mbit_per_second: float,
        *,
        burst_seconds: float = 0.1,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Unused time is kept for at most ``burst_seconds``. Raises ValueError for a rate not over zero."""
        if not mbit_per_second > 0:
            raise ValueError("an upload rate is over zero")
        self._bytes_per_second = mbit_per_second * 1e6 / 8
        self._burst, self._clock = burst_seconds, clock
        self._lock = threading.Lock()
        self._booked_until = clock()

    def book(self, count: int) -> float:
        """Book the sending of ``count`` bytes; the seconds to wait before they may go."""
        with self._lock:
            now = self._clock()
            begin = max(self._booked_until, now - self._burst)
            self._booked_until = begin + count / self._bytes_per_second
            return max(0.0, begin - now)
