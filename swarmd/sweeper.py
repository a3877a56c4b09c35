"""Nothing is left lying about, even after SIGKILL: a shell of one line outlives us and removes our socket.

It waits for the end of a pipe that only we hold open, so it acts the moment we are gone, whatever ended us.
"""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

_SCRIPT = 'read -r _; rm -f -- "$0"'


@asynccontextmanager
async def swept(path: Path) -> AsyncIterator[None]:
    """Remove a file when the block ends, or when this process does."""
    # A session of its own: ctrl-C in our terminal must not end it before us.
    process = await trio.lowlevel.open_process(
        ["/bin/sh", "-c", _SCRIPT, str(path)], stdin=subprocess.PIPE, start_new_session=True
    )
    assert process.stdin is not None
    try:
        yield
    finally:
        with trio.CancelScope(shield=True):
            await process.stdin.aclose()
            await process.wait()
