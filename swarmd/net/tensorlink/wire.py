"""Whole reads and whole writes of a blocking TLS socket, each with an end."""

from __future__ import annotations

import ssl
import time

from swarmd.net.tensorlink.throttle import Share, Throttle
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.tensors import Direction, FrameHeader
from swarmd.scheduler.sharing import Rank

SLOWEST_BYTES_PER_SECOND = 16 * 1024
"""A frame that comes slower than this is not worth its slot."""


def rank_of(header: FrameHeader) -> Rank:
    """How urgent a tensor is."""
    return Rank.GRADIENT if header.key.direction == Direction.BACKWARD else Rank.ACTIVATION


class WireReader:
    """Reads in one thread. ``received`` counts bytes."""

    def __init__(self, tls: ssl.SSLSocket, throttle: Throttle | None = None) -> None:
        """The socket's timeout bounds each wait for the next bytes."""
        self._tls, self.share = tls, Share(throttle)
        self.received = 0

    def read(self, count: int) -> bytes:
        """The next ``count`` bytes. Raises PeerLost."""
        buffer = bytearray(count)
        self.fill(memoryview(buffer))
        return bytes(buffer)

    def fill(self, view: memoryview, rank: Rank = Rank.GRADIENT) -> None:
        """Fill the whole view. Raises PeerLost at an end, a silence, or a rate no honest link has."""
        size = len(view)
        piece = self.share.piece(size)
        for at in range(0, size, piece or 1):
            part = view[at : at + piece]
            self.share.wait(rank, len(part))
            self._fill(part)
        self.received += size

    def _fill(self, view: memoryview) -> None:
        at, size = 0, len(view)
        patience = 60 + size / SLOWEST_BYTES_PER_SECOND
        begun = time.monotonic()
        while at < size:
            at += self._receive(view[at:])
            if time.monotonic() - begun > patience:
                raise PeerLost(f"{size} bytes took over {patience:.0f} s")

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

    def __init__(self, tls: ssl.SSLSocket, throttle: Throttle | None = None) -> None:
        """The socket's timeout bounds each wait for room."""
        self._tls, self.share = tls, Share(throttle)
        self.sent = 0

    def write(self, data: bytes | bytearray | memoryview, rank: Rank = Rank.GRADIENT) -> None:
        """Send everything. Raises PeerLost."""
        piece = self.share.piece(len(data))
        with memoryview(data) as view:
            for at in range(0, len(view), piece or 1):
                with view[at : at + piece] as part:
                    self.share.wait(rank, len(part))
                    self._send(part)

    def _send(self, data: memoryview) -> None:
        try:
            self._tls.sendall(data)
        except TimeoutError as error:
            raise PeerLost("the peer takes no more bytes") from error
        except OSError as error:
            raise PeerLost(f"the connection broke: {error}") from error
        self.sent += len(data)
