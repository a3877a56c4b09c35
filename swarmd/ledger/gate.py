"""A gate that many pass at once, and that one shuts: whoever shuts it waits until nobody is inside."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import trio


class Gate:
    """Votes pass; a hand-over shuts."""

    def __init__(self) -> None:
        self._inside = 0
        self._turn = trio.Lock()
        self._empty = trio.Event()

    @asynccontextmanager
    async def passing(self) -> AsyncIterator[None]:
        """Be inside for the length of the block; wait while it is shut."""
        async with self._turn:
            self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1
            if self._inside == 0:
                self._empty.set()

    @asynccontextmanager
    async def shut(self) -> AsyncIterator[None]:
        """Alone for the length of the block."""
        async with self._turn:
            while self._inside:
                self._empty = trio.Event()
                await self._empty.wait()
            yield
