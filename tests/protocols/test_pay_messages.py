"""What a run's members say about pay: what cannot be meant is not read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from swarmd.protocols.ledger.amounts import MAX_AMOUNT
from swarmd.protocols.ledger.vouchers import MAX_VOUCHER_BYTES
from swarmd.protocols.pay_messages import (
    MAX_NOTE_RECEIPTS,
    AskRelease,
    GetVoucher,
    GiveRelease,
    LaneReleased,
    NewestVoucher,
    Terms,
    VoucherNote,
)

TOO_LONG = bytes(MAX_VOUCHER_BYTES + 1)


def terms(**changes: Any) -> Terms:
    fields = {"price": 5, "pay_every": 8, "lane": 1, "cap": 100, "expires": 1_800_000_000, "max_unpaid_steps": 24}
    return Terms(**{**fields, **changes})


def test_terms_pay_or_are_free() -> None:
    assert terms().lane == 1
    assert terms(price=0, lane=0, cap=0, expires=0).price == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"price": 0},
        {"lane": 0},
        {"cap": 0},
        {"expires": 0},
        {"price": -1},
        {"cap": MAX_AMOUNT + 1},
        {"pay_every": 0},
        {"pay_every": 1001, "max_unpaid_steps": 3003},
        {"max_unpaid_steps": 25},
        {"max_unpaid_steps": 7},
    ],
)
def test_terms_that_nobody_can_mean_are_refused(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=r"terms|micro-credits"):
        terms(**changes)


@pytest.mark.parametrize(
    "make",
    [
        lambda: VoucherNote(TOO_LONG, (), 0, 0),
        lambda: VoucherNote(b"", (None,) * (MAX_NOTE_RECEIPTS + 1), 0, 0),  # type: ignore[arg-type]
        lambda: VoucherNote(b"", (), -1, 0),
        lambda: AskRelease(-1),
        lambda: LaneReleased(TOO_LONG),
        lambda: GetVoucher(0),
        lambda: NewestVoucher(TOO_LONG, False),
        lambda: GiveRelease(TOO_LONG),
    ],
)
def test_what_is_too_long_or_below_zero_is_refused(make: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"too|micro-credits"):
        make()
