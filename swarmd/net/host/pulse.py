"""Whether the peer still lives; only a silent one costs a ping."""

from __future__ import annotations

from collections.abc import Callable

import trio

SILENCE = 1.0
_PING_LIMIT = 1.5
"""Seconds. A peer silent for the first is asked, and taken for frozen when it does not answer twice."""


class Pulse:
    """The time anything last arrived, and those who wait for it."""

    def __init__(self) -> None:
        self._heard = trio.lowlevel.ParkingLot()
        self._heard_at = trio.current_time()

    def beat(self) -> None:
        """Something arrived."""
        self._heard_at = trio.current_time()
        self._heard.unpark_all()

    async def stops(self, ask: Callable[[], None], tick: Callable[[], None]) -> None:
        """Return when the peer answers no more. ``ask`` sends a ping; ``tick`` is called now and then."""
        while True:
            await trio.sleep_until(self._heard_at + SILENCE)
            tick()
            if trio.current_time() - self._heard_at >= SILENCE and not await self._answers(ask):
                return

    async def _answers(self, ask: Callable[[], None]) -> bool:
        # Asked twice: if it was our own loop that stood still, the answer to the first is in by now.
        for _ in range(2):
            ask()
            with trio.move_on_after(_PING_LIMIT):
                await self._heard.park()
                return True
        return False
