"""A Merkle root over leaves that come one at a time, in memory that grows with the logarithm of their number."""

from __future__ import annotations

from blake3 import blake3


class Merkle:
    """The same root as ``ledger.receipts.merkle_root`` over the leaves so far."""

    def __init__(self) -> None:
        self._peaks: list[tuple[int, bytes]] = []  # (height, root) of whole subtrees, from the left
        self.count = 0

    def add(self, leaf: bytes) -> None:
        """Append a leaf of 32 bytes."""
        height = 0
        while self._peaks and self._peaks[-1][0] == height:
            leaf = _node(self._peaks.pop()[1], leaf)
            height += 1
        self._peaks.append((height, leaf))
        self.count += 1

    def root(self) -> bytes:
        """Of all leaves so far; 32 zeros for none. More leaves may follow."""
        if not self._peaks:
            return bytes(32)
        root = self._peaks[-1][1]
        for _, peak in reversed(self._peaks[:-1]):
            root = _node(peak, root)
        return root


def _node(left: bytes, right: bytes) -> bytes:
    return blake3(b"\1" + left + right).digest()
