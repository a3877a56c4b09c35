"""Pay and its rules of order: what a member and its payer may say of it, and how often."""

from __future__ import annotations

import pytest

from swarmd.network import MAIN
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import RunId
from swarmd.protocols.ledger.receipts import LinkReceipt, sign_receipt
from swarmd.protocols.messages import Assign, Begin, Connect, Probe
from swarmd.protocols.pay_messages import (
    AskRelease,
    LaneReleased,
    LastReceipts,
    Receipted,
    ReceiptsDone,
    Terms,
    VoucherNote,
)
from swarmd.runs.conduct import Conduct
from swarmd.runs.orders import VOUCHERS, Orders
from tests.protocols.keys import who
from tests.runs.test_hostile_members import FIRST, hears, holder, step

TERMS = Terms(price=0, pay_every=2, lane=0, cap=0, expires=0, max_unpaid_steps=6)
NOTE = VoucherNote(b"", (), 0, 0)


def receipted(end: int = 3) -> Receipted:
    receipt = LinkReceipt(
        run=RunId("1" * 64), term=1, boundary=1, first_step=1, end_step=end, forwards=1, backwards=1, root=bytes(32)
    )
    return Receipted(sign_receipt(receipt, MAIN.id, who(1).peer, who(1).sign))


def paid(steps: int) -> Conduct:
    conduct = holder()
    conduct.pays(2)
    hears(conduct, *(step(number) for number in range(1, steps + 1)))
    return conduct


def test_a_member_signs_once_for_each_boundary_and_window_and_once_more_at_the_end() -> None:
    conduct = paid(4)
    hears(conduct, *[receipted()] * 6, ReceiptsDone(), LaneReleased(b""))
    with pytest.raises(ProtocolViolation):
        hears(conduct, receipted())


@pytest.mark.parametrize(
    "messages", [(receipted(7),), (ReceiptsDone(), ReceiptsDone()), (LaneReleased(b""), LaneReleased(b""))]
)
def test_a_member_does_not_sign_for_steps_to_come_nor_end_twice(messages: tuple[object, ...]) -> None:
    with pytest.raises(ProtocolViolation):
        hears(paid(2), *messages)


@pytest.mark.parametrize("message", [receipted(), ReceiptsDone(), LaneReleased(b"")])
def test_in_a_run_that_pays_nobody_there_is_nothing_to_say_of_pay(message: object) -> None:
    with pytest.raises(ProtocolViolation):
        hears(holder(FIRST), message)


def test_terms_come_after_the_plan_and_before_the_links() -> None:
    orders = Orders(0.0)
    for message in (Probe(), Assign(b"", 0), TERMS, Connect(), Begin()):
        orders.check(message, 0.0)
    with pytest.raises(ProtocolViolation, match="out of turn"):
        orders.check(TERMS, 0.0)


def test_the_end_is_asked_about_once_and_in_order() -> None:
    orders = Orders(0.0)
    for message in (TERMS, LastReceipts(), NOTE, AskRelease(0)):
        orders.check(message, 0.0)
    for message in (LastReceipts(), AskRelease(0)):
        with pytest.raises(ProtocolViolation, match="out of turn"):
            orders.check(message, 0.0)


def test_a_flood_of_vouchers_is_not_honest() -> None:
    orders = Orders(0.0)
    for _ in range(VOUCHERS[1]):
        orders.check(NOTE, 0.0)
    with pytest.raises(ProtocolViolation, match="too many vouchers"):
        orders.check(NOTE, 0.0)
