"""Leaves one at a time give the root of all leaves at once."""

from __future__ import annotations

import pytest

from swarmd.protocols.ledger.receipts import merkle_root
from swarmd.protocols.merkle import Merkle


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 8, 13, 64, 100])
def test_the_root_is_that_of_all_leaves(count: int) -> None:
    leaves = [bytes([n]) * 32 for n in range(count)]
    tree = Merkle()
    for number, leaf in enumerate(leaves):
        assert tree.root() == merkle_root(leaves[:number])
        tree.add(leaf)
    assert tree.root() == merkle_root(leaves)
    assert tree.count == count
