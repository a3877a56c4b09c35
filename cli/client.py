"""The control socket's client: one request per connection, answered by JSON lines.

Standard library only, so that a command's start costs nothing. ``call`` waits for one answer, ``stream``
yields many, and ``Channel`` is the connection itself for a caller that has its own event loop.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from swarmd.paths import Paths, check_private_folder
from swarmd.protocols.control import CONTROL_VERSION, MAX_LINE_BYTES
from swarmd.protocols.errors import DaemonUnreachable, ProtocolViolation, SwarmdError, TimedOut, by_code

CONNECT_SECONDS = 5.0
CALL_SECONDS = 30.0
_CHUNK = 1 << 16
_RESTART = "stop the daemon (swarmd down) and start it again (swarmd up): it is not of this version"


class Channel:
    """One request and the answers to it. Use as a context manager."""

    def __init__(self, paths: Paths, method: str, params: dict[str, object]) -> None:
        """Connect and ask. Raises DaemonUnreachable, or StateError where others could have put a socket."""
        self._partial = bytearray()
        self.ended = False
        """The daemon has closed: no more answers will come."""
        self._socket = _connect(paths.control)
        request = {"v": CONTROL_VERSION, "method": method, "params": params}
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            self.close()
            raise DaemonUnreachable(f"the daemon hung up: {error.strerror}", hint="swarmd doctor") from error

    def __enter__(self) -> Channel:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def fileno(self) -> int:
        """The socket's descriptor, for select."""
        return self._socket.fileno()

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def receive(self, timeout: float | None) -> list[dict[str, Any]]:
        """The answers that are whole after one read, which waits ``timeout`` seconds at most.

        Raises:
            TimedOut: nothing came in time.
            ProtocolViolation: what came is not an answer.
            SwarmdError: the error that the daemon answered with.
        """
        self._socket.settimeout(timeout)
        try:
            data = self._socket.recv(_CHUNK)
        except TimeoutError:
            raise TimedOut(
                f"the daemon did not answer within {timeout:g} s", hint="swarmd doctor says how it is"
            ) from None
        except OSError:
            data = b""
        self.ended = not data
        return [_result(line) for line in self._feed(data)]

    def _feed(self, data: bytes) -> list[bytes]:
        self._partial += data
        *whole, rest = self._partial.split(b"\n") if b"\n" in data else (self._partial,)
        if max(map(len, (*whole, rest))) > MAX_LINE_BYTES:
            raise ProtocolViolation(f"the daemon sent a line of over {MAX_LINE_BYTES} bytes", hint=_RESTART)
        self._partial = rest
        return [bytes(line) for line in whole if line]


def call(paths: Paths, method: str, *, wait: float = CALL_SECONDS, **params: object) -> dict[str, Any]:
    """Ask once; the daemon's result. Raises DaemonUnreachable, TimedOut, or what the daemon answered."""
    for result in stream(paths, method, idle=wait, **params):
        return result
    raise DaemonUnreachable("the daemon closed the connection without an answer", hint="swarmd doctor")


def stream(paths: Paths, method: str, *, idle: float | None = None, **params: object) -> Iterator[dict[str, Any]]:
    """Ask, then yield results until the daemon closes; ``idle`` seconds between two results at most."""
    with Channel(paths, method, params) as channel:
        while not channel.ended:
            yield from channel.receive(idle)


def _connect(path: Path) -> socket.socket:
    if path.parent.exists():
        check_private_folder(path.parent)
    link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    link.settimeout(CONNECT_SECONDS)
    try:
        link.connect(str(path))
    except OSError as error:
        link.close()
        raise _unreachable(path, error) from error
    return link


def _unreachable(path: Path, error: OSError) -> DaemonUnreachable:
    if isinstance(error, FileNotFoundError):
        return DaemonUnreachable("no daemon is running", hint=f"start one with: swarmd up   (looked at {path})")
    if isinstance(error, ConnectionRefusedError):
        return DaemonUnreachable(f"the daemon that owned {path} is gone", hint="start it again with: swarmd up")
    if isinstance(error, PermissionError):
        return DaemonUnreachable(
            f"{path} belongs to another user",
            hint="run as the user whose daemon it is, or name your own: --state-dir",
        )
    return DaemonUnreachable(f"cannot reach the daemon at {path}: {error.strerror or error}", hint="swarmd doctor")


def _result(line: bytes) -> dict[str, Any]:
    try:
        reply = json.loads(line)
    except ValueError as error:
        raise ProtocolViolation("the daemon's answer is not JSON", hint=_RESTART) from error
    if not isinstance(reply, dict):
        raise ProtocolViolation("the daemon's answer is not an object", hint=_RESTART)
    if isinstance(reply.get("error"), dict):
        raise _error(reply["error"])
    if not isinstance(reply.get("result"), dict):
        raise ProtocolViolation("the daemon's answer holds neither a result nor an error", hint=_RESTART)
    return dict(reply["result"])


def _error(fields: dict[str, Any]) -> SwarmdError:
    code, message, hint = (str(fields.get(name) or "") for name in ("code", "message", "hint"))
    return by_code(code, message, hint)
