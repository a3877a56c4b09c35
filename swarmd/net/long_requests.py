"""Requests that take long to decode: one at a time of each peer, and of all no more than half of the event loop's time.

A megabyte of small parts takes a tenth of a second. Whoever sends one on each of many streams waits for itself. (Worker
threads would not do better: each keeps for ever the memory that it once needed.)
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import trio

from swarmd.net.transport import Stream
from swarmd.protocols.ids import PeerId

LONG = 1 << 18
"""Bytes from which on a request is a long one."""
Request = TypeVar("Request")


class LongRequests:
    """Of one protocol."""

    def __init__(self) -> None:
        self._decoding = trio.Lock()
        self._turns: dict[PeerId, tuple[trio.Lock, int]] = {}  # of peers that send some now, and how many

    async def receive(self, stream: Stream, length: int, decode: Callable[[bytes], Request]) -> Request:
        """The request in the next ``length`` bytes. Raises as ``receive_exactly`` and ``decode``."""
        peer = stream.remote
        turn, waiting = self._turns.get(peer, (trio.Lock(), 0))
        self._turns[peer] = turn, waiting + 1
        try:
            async with turn:
                raw = await stream.receive_exactly(length)
                async with self._decoding:
                    began = trio.current_time()
                    try:
                        return decode(raw)
                    finally:
                        await trio.sleep(trio.current_time() - began)
        finally:
            turn, waiting = self._turns.pop(peer)
            if waiting > 1:
                self._turns[peer] = turn, waiting - 1
