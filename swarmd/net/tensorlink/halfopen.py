"""Connections that have not shown a ticket yet: few, and the oldest gives way.

Giving way, not refusing: an honest peer needs some milliseconds to show its ticket, so a crowd of
silent connections, even from the address it shares with them, pushes out its own and not the honest one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv4Address, IPv6Address, ip_address

import trio


class HalfOpen:
    """A register of half-open connections, bounded in all and per address."""

    def __init__(self, *, total: int = 64, per_address: int = 16) -> None:
        """An IPv6 address counts as its /64: one host owns all of it."""
        self._total, self._per_address = total, per_address
        self._scopes: dict[trio.CancelScope, str] = {}
        self.evicted = 0

    def __len__(self) -> int:
        """Connections in the register."""
        return len(self._scopes)

    @contextmanager
    def admit(self, address: str) -> Iterator[trio.CancelScope]:
        """Hold a place; the scope is cancelled when a newer connection needs the place."""
        group = _group(address)
        self._make_room(group)
        with trio.CancelScope() as scope:
            self._scopes[scope] = group
            try:
                yield scope
            finally:
                self._scopes.pop(scope, None)

    def _make_room(self, group: str) -> None:
        held = Counter(self._scopes.values())
        if held[group] >= self._per_address:
            self._evict(group)
        elif len(self._scopes) >= self._total:
            self._evict(held.most_common(1)[0][0])

    def _evict(self, group: str) -> None:
        oldest = next(scope for scope, owner in self._scopes.items() if owner == group)
        del self._scopes[oldest]
        oldest.cancel()
        self.evicted += 1


def _group(address: str) -> str:
    parsed: IPv4Address | IPv6Address = ip_address(address.partition("%")[0])
    if isinstance(parsed, IPv6Address):
        return str(parsed.ipv4_mapped or int(parsed) >> 64)
    return str(parsed)
