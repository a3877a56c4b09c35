"""Starting a daemon that outlives the terminal, and stopping one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Sequence
from typing import BinaryIO

from swarmd.cli import answers, spawn
from swarmd.cli.client import call
from swarmd.paths import Paths, private_folder
from swarmd.protocols.control import NodeView
from swarmd.protocols.errors import DaemonUnreachable, StateError, SwarmdError, TimedOut

START_SECONDS = 60.0
LOG_BYTES = 8 << 20
_POLL_SECONDS = 0.1
_TAIL_BYTES = 2000


def start_behind(paths: Paths, arguments: Sequence[str]) -> NodeView:
    """Start the daemon in a session of its own and wait until it answers.

    Raises:
        StateError: it ended at once, or one runs already.
        TimedOut: it does not answer.
    """
    _refuse_second(paths)
    private_folder(paths.state_dir)
    with _log(paths) as log:
        begin = log.tell()
        child = subprocess.Popen(
            spawn.module_command("swarmd", arguments),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if child.poll() is not None:
            tail = paths.log.read_bytes()[begin:][-_TAIL_BYTES:].decode("utf-8", "replace").strip()
            raise StateError(f"the daemon ended at once:\n{tail}", hint="swarmd doctor")
        try:
            return answers.node(call(paths, "status", wait=5.0))
        except DaemonUnreachable:
            time.sleep(_POLL_SECONDS)
    raise TimedOut(f"the daemon does not answer after {START_SECONDS:g} s", hint=f"read {paths.log}")


def _log(paths: Paths) -> BinaryIO:
    """The daemon's log, to append to; one that has grown large is put aside first."""
    if paths.log.exists() and paths.log.stat().st_size > LOG_BYTES:
        paths.log.replace(paths.log.with_name(f"{paths.log.name}.1"))
    log = os.fdopen(os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    log.seek(0, os.SEEK_END)
    return log


def stop(paths: Paths, timeout: float) -> None:
    """Ask the daemon to end and wait until it has. Raises DaemonUnreachable, TimedOut."""
    call(paths, "shutdown", wait=timeout)
    deadline = time.monotonic() + timeout
    while _answers(paths) or _locked(paths):
        if time.monotonic() > deadline:
            raise TimedOut(
                f"the daemon still runs after {timeout:g} s", hint="it may be handing stages over; try again"
            )
        time.sleep(_POLL_SECONDS)


def _refuse_second(paths: Paths) -> None:
    if _answers(paths):
        raise StateError("a daemon is running already", hint="swarmd status; or stop it first with: swarmd down")


def _locked(paths: Paths) -> bool:
    """Whether a daemon still holds the state folder: it may have closed its socket and be saving."""
    try:
        handle = os.open(paths.lock, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return True
    finally:
        os.close(handle)
    return False


def _answers(paths: Paths) -> bool:
    try:
        call(paths, "status", wait=5.0)
    except (DaemonUnreachable, TimedOut):
        return False
    except SwarmdError:
        return True
    return True
