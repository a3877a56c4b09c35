"""A link's thread and its way back into the trio loop."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TypeVar, TypeVarTuple

import trio

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


async def run_interruptible(body: Callable[[], T], interrupt: Callable[[], None], name: str) -> T:
    """The result of ``body``, run in a thread of its own.

    When cancelled, calls ``interrupt``, which must make ``body`` return, and waits until it has: no
    thread outlives this call.
    """
    async with trio.open_nursery() as nursery:
        ended = trio.Event()
        nursery.start_soon(_interrupt_when_cancelled, ended, interrupt)
        try:
            return await trio.to_thread.run_sync(body, limiter=trio.CapacityLimiter(1), thread_name=name)
        finally:
            ended.set()


async def _interrupt_when_cancelled(ended: trio.Event, interrupt: Callable[[], None]) -> None:
    try:
        await ended.wait()
    except trio.Cancelled:
        interrupt()
        raise


class InPlace:
    """Calls in the link's own thread, at once. What a call raises ends the link's thread."""

    def __call__(self, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Call it."""
        call(*args)


class LoopPost:
    """Calls from a link's thread into the trio thread, in order, without waiting for their results.

    Calls that come while the loop is busy wake it once. The bound makes a thread wait whose calls the loop
    does not keep up with. What a call raises goes to ``failed``: leaving ``run_sync_soon`` it would end the
    whole program.
    """

    def __init__(self, failed: Callable[[Exception], None], *, bound: int = 64) -> None:
        """Make it in the trio thread."""
        self._token = trio.lowlevel.current_trio_token()
        self._room = threading.Semaphore(bound)
        self._calls: deque[Callable[[], object]] = deque()
        self._woken = False
        self._failed = failed

    def __call__(self, call: Callable[[*Ts], object], *args: *Ts) -> None:
        """Have it called soon in the trio thread; from the link's thread."""
        self._room.acquire()
        self._calls.append(partial(call, *args))
        if not self._woken:
            self._woken = True
            self._token.run_sync_soon(self._run)

    def _run(self) -> None:
        self._woken = False  # before the calls are counted: what comes later wakes the loop again
        for _ in range(len(self._calls)):
            self._room.release()
            try:
                self._calls.popleft()()
            except Exception as error:  # noqa: BLE001
                self._failed(error)
