"""Work receipts: one pair of signatures over everything that crossed a link, and any crossing opens against it."""

from __future__ import annotations

from dataclasses import replace

import pytest
from blake3 import blake3

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ledger.receipts import (
    CountersignedReceipt,
    Crossing,
    LinkReceipt,
    SignedReceipt,
    check_receipt,
    countersigned,
    crossing_leaf,
    crossings_root,
    merkle_root,
    sign_receipt,
    work_root,
)
from tests.protocols.keys import NETWORK, OTHER_NETWORK, who
from tests.protocols.ledger.world import RUN

UP, DOWN = who(1), who(2)
CROSSINGS = [
    Crossing(step, micro, direction, 0, bytes(32)) for step in (0, 1) for micro in (0, 1) for direction in (0, 1)
]
RECEIPT = LinkReceipt(
    run=RUN, term=1, boundary=2, first_step=0, end_step=2, forwards=4, backwards=4, root=crossings_root(CROSSINGS)
)


def leaf(number: int) -> bytes:
    return bytes([number]) * 32


def node(left: bytes, right: bytes) -> bytes:
    return blake3(b"\1" + left + right).digest()


def test_a_root_pairs_its_leaves_and_an_odd_one_moves_up():
    a, b, c = leaf(1), leaf(2), leaf(3)
    assert merkle_root([]) == bytes(32)
    assert merkle_root([a]) == a
    assert merkle_root([a, b, c]) == node(node(a, b), c)


def test_the_order_in_which_crossings_were_seen_does_not_matter():
    assert crossings_root(reversed(CROSSINGS)) == crossings_root(CROSSINGS)
    assert crossings_root([]) == bytes(32)
    assert crossings_root(CROSSINGS[:1]) == crossing_leaf(CROSSINGS[0])
    assert len({crossing_leaf(crossing) for crossing in CROSSINGS}) == len(CROSSINGS)


def test_work_is_named_by_its_receipts_in_order_of_place_and_time():
    other = replace(RECEIPT, boundary=1)
    assert work_root([RECEIPT, other]) == work_root([other, RECEIPT]) != work_root([RECEIPT])


def test_both_ends_sign_the_same():
    one, other = (sign_receipt(RECEIPT, NETWORK, each.peer, each.sign) for each in (UP, DOWN))
    check_receipt(one, NETWORK)
    assert countersigned(one, other) == CountersignedReceipt(one, other)
    with pytest.raises(ProtocolViolation):
        check_receipt(one, OTHER_NETWORK)
    with pytest.raises(ProtocolViolation):
        check_receipt(replace(one, signer=DOWN.peer), NETWORK)


def test_one_end_alone_or_two_that_differ_prove_nothing():
    one = sign_receipt(RECEIPT, NETWORK, UP.peer, UP.sign)
    less = sign_receipt(replace(RECEIPT, forwards=3), NETWORK, DOWN.peer, DOWN.sign)
    for other in (one, less):
        with pytest.raises(ProtocolViolation, match="did not both sign"):
            countersigned(one, other)
        with pytest.raises(ValueError, match="did not sign the same"):
            CountersignedReceipt(one, other)


@pytest.mark.parametrize("wrong", [{"first_step": 2}, {"forwards": -1}, {"term": 1 << 40}, {"root": b"short"}])
def test_an_impossible_receipt_is_not_built(wrong):
    with pytest.raises(ValueError, match=r"impossible receipt|32 bytes"):
        replace(RECEIPT, **wrong)


def test_a_signature_has_64_bytes():
    with pytest.raises(ValueError, match="64 bytes"):
        SignedReceipt(RECEIPT, UP.peer, b"short")
