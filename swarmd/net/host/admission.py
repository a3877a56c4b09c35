"""How many inbound connections we hold, in all and from one address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import trio

MOST_CONNECTIONS = 256
"""Connections in all, both directions."""
MOST_INBOUND = 192
_MOST_HALF_OPEN = 64
"""Not secured yet. One more ends the oldest: an honest handshake takes far less than its deadline."""
_MOST_PER_ADDRESS = 32
"""From one IP address, secured or not yet. Loopback is exempt: a demonstration runs there."""


class Admission:
    """Counts of inbound connections: all, those not yet secured, and those of each address."""

    def __init__(self) -> None:
        self._inbound = 0
        self._half_open: dict[trio.CancelScope, None] = {}
        self._of_address: Counter[str] = Counter()

    def admits(self, address: str | None) -> bool:
        """Whether one more connection may begin its handshake."""
        if self._inbound >= MOST_INBOUND:
            return False
        return address is None or _loopback(address) or self._of_address[address] < _MOST_PER_ADDRESS

    @contextmanager
    def connection(self, address: str | None) -> Iterator[None]:
        """Count a connection for as long as it lasts."""
        key = address or ""
        self._inbound += 1
        self._of_address[key] += 1
        try:
            yield
        finally:
            self._inbound -= 1
            self._of_address[key] -= 1
            self._of_address += Counter()  # drops the zeros

    @contextmanager
    def handshake(self) -> Iterator[None]:
        """Count a connection that is not secured yet; the block may be cancelled."""
        if len(self._half_open) >= _MOST_HALF_OPEN:
            oldest = next(iter(self._half_open))
            del self._half_open[oldest]
            oldest.cancel()
        with trio.CancelScope() as scope:
            self._half_open[scope] = None
            try:
                yield
            finally:
                self._half_open.pop(scope, None)


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
