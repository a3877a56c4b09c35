"""Whole reads and whole writes of a blocking TLS socket, each with an end."""

from __future__ import annotations

import ssl
import time

from swarmd.protocols.errors import PeerLost

SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""A frame that comes slower than this is not worth its slot."""


class WireReader:
    """Reads in one thread. ``received`` counts bytes."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        """The socket's timeout bounds each wait for the next bytes."""
        self._tls = tls
        self.received = 0

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises PeerLost."""
        buffer = bytearray(count)
        self.fill(memoryview(buffer))
        return bytes(buffer)

    def fill(self, view: memoryview) -> None:
        """Fill the whole view. Raises PeerLost at an end, a silence, or a rate no honest link has."""
        at, size = 0, len(view)
        patience = 60 + size / SLOWEST_BYTES_PER_SECOND
        begun = time.monotonic()
        while at < size:
            at += self._receive(view[at:])
            if time.monotonic() - begun > patience:
                raise PeerLost(f"{size} bytes took over {patience:.0f} s")
        self.received += size

    def _receive(self, view: memoryview) -> int:
        try:
            count = self._tls.recv_into(view)
        except TimeoutError as error:
            raise PeerLost("the peer fell silent") from error
        except OSError as error:
            raise PeerLost(f"the connection broke: {error}") from error
        if count == 0:
            raise PeerLost("the peer closed the connection without a farewell")
        return count


class WireWriter:
    """Writes in one thread. ``sent`` counts bytes."""

    def __init__(self, tls: ssl.SSLSocket) -> None:
        """The socket's timeout bounds each wait for room."""
        self._tls = tls
        self.sent = 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send everything. Raises PeerLost."""
        try:
            self._tls.sendall(data)
        except TimeoutError as error:
            raise PeerLost("the peer takes no more bytes") from error
        except OSError as error:
            raise PeerLost(f"the connection broke: {error}") from error
        self.sent += len(data)
