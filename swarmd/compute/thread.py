"""The compute process's stand-in for tests: the same worker, in threads of this process.

Whatever a stage does to its process it then does to this one, so nothing but tests uses it.
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from swarmd.blobs import BlobStore
from swarmd.compute.channel import Channel
from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory, unnamed_file
from swarmd.compute.messages import FROM_WORKER, TO_WORKER
from swarmd.compute.process import Compute, read_until_gone


@asynccontextmanager
async def open_compute_thread(
    layout: SlotLayout, blobs: Path, threads: int, device: str, on_message: Callable[[object], None]
) -> AsyncIterator[Compute]:
    """As ``compute.process.open_compute``."""
    from swarmd.train.worker import Worker

    ours, theirs = socket.socketpair()
    handle = unnamed_file(layout.total_bytes)
    memory = SlotMemory(handle, layout)
    channel, far = Channel(ours, TO_WORKER, FROM_WORKER), Channel(theirs, FROM_WORKER, TO_WORKER)
    worker = Worker(far, memory, layout, BlobStore(blobs), device)
    bodies = (worker.reader.run, worker.run, lambda: read_until_gone(channel, on_message))
    running = [threading.Thread(target=body, daemon=True) for body in bodies]
    for thread in running:
        thread.start()
    try:
        yield Compute(os.getpid(), channel, memory)
    finally:
        channel.close()
        with trio.CancelScope(shield=True):
            for thread in running[:2]:
                await trio.to_thread.run_sync(thread.join)
            far.close()
            await trio.to_thread.run_sync(running[2].join)
        memory.close()
        os.close(handle)
