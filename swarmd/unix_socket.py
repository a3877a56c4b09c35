"""A listening unix socket that only our user can open, in the place of one whose owner is gone."""

from __future__ import annotations

import errno
import logging
import os
import socket
import stat
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from swarmd.paths import private_folder
from swarmd.protocols.errors import StateError

CONNECT_SECONDS = 5.0

_logger = logging.getLogger(__name__)


@asynccontextmanager
async def private_listener(path: Path, backlog: int) -> AsyncIterator[trio.SocketListener]:
    """Listen on ``path``; the socket file goes when the context ends.

    It gets its name once it listens: whoever finds it there is answered.

    Raises:
        StateError: a live program answers there, what is there is no socket, or it cannot be made.
    """
    private_folder(path.parent)
    await _clear(path)
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        try:
            unnamed = path.with_name(path.name[:-1] + "~")  # as long as the name: there is little room for it
            unnamed.unlink(missing_ok=True)
            await sock.bind(str(unnamed))
            os.chmod(unnamed, 0o600)  # before it listens, so that nobody else can ever connect
            sock.listen(backlog)
            os.rename(unnamed, path)
        except OSError as error:
            raise StateError(
                f"cannot make the control socket {path}: {error.strerror}", hint="choose another --state-dir"
            ) from error
        ours = os.lstat(path).st_ino
        try:
            yield trio.SocketListener(sock)
        finally:
            _remove(path, ours)


async def _clear(path: Path) -> None:
    """Remove the socket of a daemon that is gone. Raises StateError if one lives, or it is no socket."""
    try:
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise StateError(f"{path} is not a socket", hint=f"move {path} away and start again")
    except FileNotFoundError:
        return
    if await _answers(path):
        raise StateError(
            f"another daemon answers on {path}",
            hint="stop it with `swarmd down`, or choose another --state-dir",
        )
    _remove(path, os.lstat(path).st_ino)


async def _answers(path: Path) -> bool:
    with trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, trio.move_on_after(CONNECT_SECONDS):
        try:
            await sock.connect(str(path))
        except OSError as error:
            return error.errno not in (errno.ECONNREFUSED, errno.ENOENT)
    return True


def _remove(path: Path, inode: int) -> None:
    try:
        if os.lstat(path).st_ino == inode:
            path.unlink()
    except OSError:
        _logger.warning("the control socket was already gone", extra={"path": path})
