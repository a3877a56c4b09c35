"""Which nodes of the network in memory cannot reach which."""

from __future__ import annotations

from swarmd.protocols.ids import PeerId


class Separation:
    """Nodes cut off from everybody, and groups cut off from each other."""

    def __init__(self) -> None:
        self.cut: set[PeerId] = set()
        self.groups: dict[PeerId, int] = {}

    def apart(self, one: PeerId, other: PeerId) -> bool:
        """Whether two nodes cannot reach each other."""
        return one in self.cut or other in self.cut or self.groups.get(one) != self.groups.get(other)
