"""Starting a daemon that outlives the terminal, and stopping one."""

from __future__ import annotations

import fcntl
import os
import subprocess
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
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
            raise StateError(f"the daemon ended at once:\n{_last_words(paths, begin)}", hint="swarmd doctor")
        try:
            return answers.node(call(paths, "status", wait=5.0))
        except DaemonUnreachable:
            time.sleep(_POLL_SECONDS)
    raise TimedOut(f"the daemon does not answer after {START_SECONDS:g} s", hint=f"read {paths.log}")


def _last_words(paths: Paths, begin: int) -> str:
    """What the daemon said of its end; its log's end where it said nothing."""
    tail = paths.log.read_bytes()[begin:][-_TAIL_BYTES:].decode("utf-8", "replace").strip()
    last = tail.rfind("\nswarmd: ")
    return tail[last + 1 :]


def _log(paths: Paths) -> BinaryIO:
    """The daemon's log, to append to; one that has grown large is put aside first."""
    if paths.log.exists() and paths.log.stat().st_size > LOG_BYTES:
        paths.log.replace(paths.log.with_name(f"{paths.log.name}.1"))
    log = os.fdopen(os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "ab")
    log.seek(0, os.SEEK_END)
    return log


def stop(paths: Paths, timeout: float) -> list[str]:
    """Ask the daemon to end and wait until its process is gone; what waited unsigned and is dropped, in words.

    Raises DaemonUnreachable, TimedOut.
    """
    deadline = time.monotonic() + timeout
    process = _process(paths, timeout)
    dropped = [str(each) for each in call(paths, "shutdown", wait=timeout).get("dropped", ())]
    while _answers(paths) or _locked(paths) or _lives(process):
        if time.monotonic() > deadline:
            raise TimedOut(
                f"the daemon (process {process}) still runs after {timeout:g} s",
                hint=f"wait longer with: swarmd down --timeout 300; or end it with: kill {process}",
            )
        time.sleep(_POLL_SECONDS)
    return dropped


def _process(paths: Paths, timeout: float) -> int:
    """The daemon's process id; 0 from a daemon whose answer is of another version."""
    try:
        return int(call(paths, "status", wait=timeout).get("pid") or 0)
    except (DaemonUnreachable, TimedOut):
        raise
    except (SwarmdError, TypeError, ValueError):
        return 0


def _lives(process: int) -> bool:
    """Whether a process is there and has not ended; one that nobody has waited for has."""
    if process <= 0:
        return False
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    with suppress(OSError, IndexError):
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    return True


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
