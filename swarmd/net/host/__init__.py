"""The network over py-libp2p. Nothing outside this package imports libp2p or multiaddr."""

from __future__ import annotations

from swarmd.net.host.opening import open_host

__all__ = ["open_host"]
