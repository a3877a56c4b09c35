"""A node's rate in one direction, shared by the threads of its links and by the event loop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

import trio

from swarmd.protocols.errors import PeerLost
from swarmd.scheduler.sharing import Lane, Rank, Request, SharedRate

HEADERS = 1.04
"""Bytes on the wire for a byte of a link: the headers of TLS, TCP and IP at 1500 bytes a packet."""
_PIECE_SECONDS = 0.005
_SMALLEST, _LARGEST = 4 * 1024, 64 * 1024


class Throttle:
    """Bytes on the wire a second; waits sleep, and end when the bytes may go."""

    def __init__(self, mbit_per_second: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ValueError for a rate not over zero."""
        self._clock = clock
        self._rate = SharedRate(mbit_per_second * 1e6 / 8, clock())
        self._changed = threading.Condition()
        self.piece = int(min(_LARGEST, max(_SMALLEST, self._rate.bytes_per_second * _PIECE_SECONDS)))
        """Bytes to ask for at a time, so that nobody waits long for a piece of another."""

    def wait(self, lane: Lane, rank: Rank, count: int, stopped: threading.Event) -> bool:
        """Wait in a thread until ``count`` bytes may go; False when stopped (see ``wake``)."""
        with self._changed:
            request = self._ask(lane, rank, count)
            while not stopped.is_set():
                pause = self._grant()
                if request.granted:
                    return True
                self._changed.wait(pause)
            self._rate.withdraw(request)
            return request.granted

    async def wait_here(self, lane: Lane, rank: Rank, count: int) -> None:
        """As ``wait``, in the event loop; ends with its cancellation."""
        with self._changed:
            request = self._ask(lane, rank, count)
        try:
            while True:
                with self._changed:
                    pause = self._grant()
                if request.granted:
                    return
                await trio.sleep(pause or 0.0)
        finally:
            with self._changed:
                self._rate.withdraw(request)

    def wake(self) -> None:
        """Have every waiting thread look whether it was stopped."""
        with self._changed:
            self._changed.notify_all()

    def _ask(self, lane: Lane, rank: Rank, count: int) -> Request:
        return self._rate.ask(lane, rank, round(count * HEADERS))

    def _grant(self) -> float | None:
        pause = self._rate.grant(self._clock())
        self._changed.notify_all()
        return pause


@dataclass(frozen=True, slots=True)
class Rates:
    """What a node may send and receive; None is as much as goes."""

    up: Throttle | None = None
    down: Throttle | None = None


NO_CAPS = Rates()


def rates_of(upload_mbit: float, download_mbit: float) -> Rates:
    """The settings' rates in Mbit/s, where 0 is no cap."""
    return Rates(*(Throttle(each) if each else None for each in (upload_mbit, download_mbit)))


class Share:
    """One link's part in a rate; without a throttle nothing waits."""

    def __init__(self, throttle: Throttle | None) -> None:
        self._throttle, self._lane = throttle, Lane()
        self._stopped = threading.Event()

    def piece(self, count: int) -> int:
        """How many of ``count`` bytes to ask for at a time."""
        return count if self._throttle is None else min(count, self._throttle.piece)

    def wait(self, rank: Rank, count: int) -> None:
        """Wait in the link's thread until so many bytes may go. Raises PeerLost when stopped."""
        if self._throttle is not None and not self._throttle.wait(self._lane, rank, count, self._stopped):
            raise PeerLost("the link was stopped on our side")

    async def wait_here(self, rank: Rank, count: int) -> None:
        """As ``wait``, in the event loop."""
        if self._throttle is not None:
            await self._throttle.wait_here(self._lane, rank, count)

    def pause(self, seconds: float) -> None:
        """Do nothing for a while. Raises PeerLost when stopped."""
        if self._stopped.wait(seconds):
            raise PeerLost("the link was stopped on our side")

    def stop(self) -> None:
        """End every wait, for good; from any thread."""
        self._stopped.set()
        if self._throttle is not None:
            self._throttle.wake()
