"""How many inbound connections we hold, in all and from one address."""

from __future__ import annotations

import ipaddress
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

MOST_CONNECTIONS = 256
"""Connections in all, both directions."""
MOST_INBOUND = 192
_MOST_HALF_OPEN = 64
_MOST_PER_ADDRESS = 32
"""From one IP address, secured or not yet. Loopback is exempt: a demonstration runs there."""


class Admission:
    """Counts of inbound connections: all, those not yet secured, and those of each address."""

    def __init__(self) -> None:
        self._inbound = 0
        self._half_open = 0
        self._of_address: Counter[str] = Counter()

    def admits(self, address: str | None) -> bool:
        """Whether one more connection may begin its handshake."""
        if self._inbound >= MOST_INBOUND or self._half_open >= _MOST_HALF_OPEN:
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
        """Count a connection that is not secured yet."""
        self._half_open += 1
        try:
            yield
        finally:
            self._half_open -= 1


def _loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False
