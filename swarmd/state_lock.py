"""One daemon per state folder, and one per key: advisory locks held while the daemon lives.

The kernel drops them when the process ends, however it ends, so a lock is never stale. The key is locked
as well as the folder, because a hard link or a second mount can put one key into two folders, and two
daemons with one key would sign against each other.
"""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from swarmd.identity import create_key_file, open_key_file
from swarmd.paths import Paths, private_folder
from swarmd.protocols.errors import StateError

_HINT = "stop it with `swarmd down`, or give this one another --state-dir"


@contextmanager
def lock_state(paths: Paths) -> Iterator[None]:
    """Hold the state folder and the key in it, both made if they are missing.

    Raises:
        StateError: another daemon holds one of them (its process id is named), or the folder or key is unfit.
    """
    private_folder(paths.state_dir)
    with _folder_lock(paths.lock):
        create_key_file(paths.key)
        with _key_lock(paths.key):
            yield


@contextmanager
def lock_folder(paths: Paths) -> Iterator[None]:
    """Hold the state folder alone, made if it is missing, while there is no key in it. Raises as ``lock_state``."""
    private_folder(paths.state_dir)
    with _folder_lock(paths.lock):
        yield


@contextmanager
def undone_on_failure(paths: Paths) -> Iterator[None]:
    """If the block fails, a state folder that it made is gone again, and with it a key that nobody knows."""
    made = not paths.state_dir.exists()
    try:
        yield
    except BaseException:
        if made:
            shutil.rmtree(paths.state_dir, ignore_errors=True)
        raise


@contextmanager
def _folder_lock(place: Path) -> Iterator[None]:
    try:
        handle = os.open(place, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise StateError(
            f"cannot open the lock {place}: {error.strerror}", hint="choose a --state-dir you can write to"
        ) from error
    try:
        if not _take(handle):
            owner = os.read(handle, 20).decode("ascii", "replace").strip()
            raise StateError(f"a daemon (process {owner or 'unknown'}) already uses {place.parent}", hint=_HINT)
        os.ftruncate(handle, 0)
        os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(handle)


@contextmanager
def _key_lock(place: Path) -> Iterator[None]:
    handle = open_key_file(place)
    try:
        if not _take(handle):
            owner = _holder(os.fstat(handle).st_ino) or "unknown"
            raise StateError(f"a daemon (process {owner}) already uses the key {place} from another folder", hint=_HINT)
        yield
    finally:
        os.close(handle)


def _take(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(inode: int) -> str:
    """The process that holds a lock on an inode, where the system tells (Linux); else empty."""
    try:
        table = Path("/proc/locks").read_text(encoding="ascii")
    except OSError:
        return ""
    rows = (line.split() for line in table.splitlines())
    return next((row[4] for row in rows if "FLOCK" in row[1:2] and row[5].endswith(f":{inode}")), "")
