"""The daemon's side of a compute process: start it, talk to it, be sure that it ends."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager, suppress
from pathlib import Path

import trio

from swarmd.compute.channel import Channel
from swarmd.compute.layout import SlotLayout
from swarmd.compute.memory import SlotMemory, unnamed_file
from swarmd.compute.messages import FROM_WORKER, TO_WORKER
from swarmd.protocols.errors import SwarmdError

OpenCompute = Callable[[SlotLayout, Path, int, str, Callable[[object], None]], AbstractAsyncContextManager["Compute"]]
"""``open_compute``, or another way of running a worker."""

GONE = object()
"""What ``on_message`` gets, once, when the compute process has ended."""


class Compute:
    """A running compute process. ``send`` and ``memory`` may be used from any thread."""

    def __init__(self, pid: int, channel: Channel, memory: SlotMemory) -> None:
        self.pid = pid
        self.memory = memory
        self._channel = channel

    def send(self, message: object) -> None:
        """Tell the compute process something; if it has ended, ``on_message`` learns that, not the sender."""
        with suppress(OSError):  # the reader sees the end of the socket too, and reports it once
            self._channel.send(message)


@asynccontextmanager
async def open_compute(
    layout: SlotLayout, blobs: Path, threads: int, device: str, on_message: Callable[[object], None]
) -> AsyncIterator[Compute]:
    """Run a compute process for the length of the block.

    ``on_message`` is called from the reader's thread with each message, and last with ``GONE``.
    """
    ours, theirs = socket.socketpair()
    handle = unnamed_file(layout.total_bytes)
    memory = SlotMemory(handle, layout)
    channel = Channel(ours, TO_WORKER, FROM_WORKER)
    process = await _spawn(theirs, handle, layout, blobs, threads, device)
    theirs.close()
    reader = threading.Thread(target=read_until_gone, args=(channel, on_message), name="compute-reader", daemon=True)
    reader.start()
    try:
        yield Compute(process.pid, channel, memory)
    finally:
        channel.close()
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
            await trio.to_thread.run_sync(reader.join)
        memory.close()
        os.close(handle)


async def _spawn(
    theirs: socket.socket, handle: int, layout: SlotLayout, blobs: Path, threads: int, device: str
) -> trio.Process:
    command = [
        sys.executable, "-P", "-m", "swarmd.train.worker",
        "--channel", str(theirs.fileno()), "--memory", str(handle), "--slot-bytes", str(layout.slot_bytes),
        "--blobs", str(blobs), "--device", device,
    ]  # fmt: skip
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    return await trio.lowlevel.open_process(
        command,
        stdin=subprocess.DEVNULL,
        pass_fds=(theirs.fileno(), handle),
        env=environment,
    )


def read_until_gone(channel: Channel, on_message: Callable[[object], None]) -> None:
    """Hand on every message, and ``GONE`` at the end; the body of the reader's thread."""
    try:
        while (message := channel.receive()) is not None:
            on_message(message)
    except SwarmdError:
        pass  # a child that talks nonsense is as good as gone
    on_message(GONE)
