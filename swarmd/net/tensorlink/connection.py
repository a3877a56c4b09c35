"""A TLS socket: its handshake runs in trio without blocking, its traffic in one thread.

Why not `trio.SSLStream`: measured, moving records through trio costs half of the throughput and all of
it in the event loop. Why the handshake is not in the thread: then every stranger who connects holds a
thread until a timeout.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import trio

from swarmd.protocols.errors import PeerLost

T = TypeVar("T")


async def when_ready(tls: ssl.SSLSocket, step: Callable[[], T]) -> T:
    """Repeat a step of a non-blocking TLS socket until the network lets it finish."""
    while True:
        try:
            return step()
        except ssl.SSLWantReadError:
            await trio.lowlevel.wait_readable(tls)
        except ssl.SSLWantWriteError:
            await trio.lowlevel.wait_writable(tls)


async def receive_exactly(tls: ssl.SSLSocket, count: int) -> bytes:
    """``count`` bytes during the greeting. Raises PeerLost at an early end."""
    raw = b""
    while len(raw) < count:
        missing = count - len(raw)
        piece = await when_ready(tls, lambda: tls.recv(missing))  # noqa: B023
        if not piece:
            raise PeerLost("the connection ended during its greeting")
        raw += piece
    return raw


async def send_all(tls: ssl.SSLSocket, data: bytes) -> None:
    """Send the few bytes of a greeting."""
    while data:
        sent = await when_ready(tls, lambda: tls.send(data))  # noqa: B023
        data = data[sent:]


def detached(stream: trio.SocketStream) -> socket.socket:
    """The plain non-blocking socket out of a trio stream. Raises OSError if the peer has gone already."""
    plain = socket.socket(fileno=stream.socket.detach())
    try:
        plain.setblocking(False)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        plain.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    except OSError:
        plain.close()
        raise
    return plain


@dataclass(slots=True)
class Connection:
    """An open, authenticated, still unused TLS socket; a link takes it over."""

    tls: ssl.SSLSocket
    sends: bool
    """Whether our end is the one that sends tensors."""

    def begin(self, timeout: float) -> None:
        """Make reads and writes blocking, each for at most ``timeout`` seconds."""
        self.tls.settimeout(timeout)
        if hasattr(socket, "TCP_USER_TIMEOUT"):
            self.tls.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(timeout * 1000))

    def interrupt(self) -> None:
        """End a read or write another thread is in. Never raises."""
        # SSLSocket.shutdown() drops the TLS state first: the other thread's next call would then send
        # or take plain text. Only the descriptor may be shut down.
        try:
            socket.socket.shutdown(self.tls, socket.SHUT_RDWR)
        except OSError:
            return

    def what_is_readable(self) -> str:
        """What has come on a connection where nothing should, in words."""
        try:
            seen = socket.socket.recv(self.tls, 1, socket.MSG_PEEK)
        except OSError as error:
            return f"broke the connection: {error.strerror}"
        return "spoke where it may only listen" if seen else "closed the connection"

    def close(self) -> None:
        """Close the socket; only when no thread uses it. Never raises."""
        self.tls.close()
