"""The way from node to node: a sender's uplink, the distance, a receiver's downlink."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarmd.net.memory_conditions import Bandwidth
from swarmd.net.memory_schedule import Schedule

PIECE = 16 * 1024
"""Bytes that go over a wire at once; between them others have their turn."""


class Wire:
    """A node's connection to the network: both directions are queues with a rate."""

    def __init__(self, bandwidth: Bandwidth) -> None:
        self.bandwidth = bandwidth
        self.schedule = Schedule()
        self._up_free = self._down_free = 0.0

    def send(self, to: Wire, size: int, seconds: float, arrive: Callable[[], None], after: float = 0.0) -> float:
        """Send ``size`` bytes that take ``seconds`` on the way, to arrive no sooner than the time ``after``.

        Returns when the last byte arrives if the receiver's downlink is free; ``arrive`` is called when it has.
        """
        start = max(trio.current_time(), self._up_free)
        sending = size / self.bandwidth.up
        self._up_free = start + sending
        last = max(self._up_free + seconds, after)
        to.schedule.at(last, lambda: to._take(size, sending, arrive))
        return last

    def _take(self, size: int, sending: float, arrive: Callable[[], None]) -> None:
        """The last byte is here; the first came ``sending`` seconds ago, if the downlink was free."""
        last = trio.current_time()
        start = max(last - sending, self._down_free)
        self._down_free = max(start + size / self.bandwidth.down, last)
        self.schedule.at(self._down_free, arrive)
