"""TCP connections whose reads are bounded and whose far end is known."""

from __future__ import annotations

import contextlib
import socket

from libp2p.io.trio import TrioTCPStream
from libp2p.network.connection.raw_connection import RawConnection
from libp2p.transport.tcp.tcp import TCP
from multiaddr import Multiaddr

_LARGEST_READ = 256 * 1024
"""Bytes. The library asks the kernel for as many bytes as an unauthenticated peer's length prefix says."""


class BoundedConnection(RawConnection):  # type: ignore[misc]
    """A raw connection that never allocates what a peer merely announces."""

    def __init__(self, stream: TrioTCPStream, initiator: bool) -> None:
        super().__init__(stream, initiator)
        self._remote = _far_end(stream)

    async def read(self, n: int | None = None) -> bytes:
        """Up to ``n`` bytes, and never more than the bound."""
        wanted = _LARGEST_READ if n is None else min(n, _LARGEST_READ)
        received: bytes = await super().read(wanted)
        return received

    def get_remote_address(self) -> tuple[str, int] | None:
        """Host and port; the library's own answer knows IPv4 only."""
        return self._remote


class BoundedTCP(TCP):  # type: ignore[misc]
    """The TCP transport, dialling bounded connections."""

    async def dial(self, maddr: Multiaddr) -> BoundedConnection:
        """Connect to an address. Raises OpenConnectionError."""
        connection = await super().dial(maddr)
        return BoundedConnection(connection.stream, True)


def address_of(remote: tuple[str, int]) -> str:
    """The multiaddress of a host and a port."""
    host, port = remote
    return f"/ip{6 if ':' in host else 4}/{host}/tcp/{port}"


def is_free(address: Multiaddr) -> bool:
    """Whether nobody listens on an IP address and port.

    The library shares its port with whoever asks for it, so that two nodes would take turns.
    """
    version, host, _, port = str(address).split("/")[1:5]
    family = socket.AF_INET6 if version == "ip6" else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
            probe.listen(1)
        except OSError:
            return False
    return True


def _far_end(stream: TrioTCPStream) -> tuple[str, int] | None:
    with contextlib.suppress(OSError):
        host, port = stream.stream.socket.getpeername()[:2]
        return str(host).partition("%")[0], int(port)
    return None
