"""What a run's coordinator and its members say to each other about receipts and payment.

On a session, beside the messages of ``messages.py``:

    coordinator          member
    Terms            →                         before Connect; only in a run that pays somebody
                     ←   Receipted*            while training: one for each boundary, every ``pay_every`` steps
    VoucherNote      →                         while training and at the end
    LastReceipts     →   Receipted*, ReceiptsDone      when the run is over, however it ended
    AskRelease       →   LaneReleased          the lane may be closed at once

and to the payer, by a provider that was away when a run ended (``PAY_PROTOCOL``, requests and answers):

    GetVoucher       →   NewestVoucher
    GiveRelease      →   LaneClosing
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.budget import MAX_PAY_EVERY
from swarmd.protocols.ledger.amounts import check_amounts
from swarmd.protocols.ledger.receipts import CountersignedReceipt, SignedReceipt
from swarmd.protocols.ledger.vouchers import MAX_VOUCHER_BYTES

PAY_PROTOCOL = "/swarmd/pay/1"
MAX_NOTE_RECEIPTS = 32
"""That travel with one voucher."""
UNPAID_WINDOWS = 3
"""Windows of ``pay_every`` steps that a provider works ahead of its vouchers, unless the terms say fewer steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What your stage earns and how. A free stage has price, lane, cap and expires 0: it still signs receipts."""

    price: int
    """Micro-credits for 10^12 operations."""
    pay_every: int
    """Steps between two receipts of a boundary."""
    lane: int
    cap: int
    """Micro-credits in the lane."""
    expires: int
    """Unix seconds."""
    max_unpaid_steps: int
    """Committed steps without a voucher after which you may stop."""

    def __post_init__(self) -> None:
        check_amounts(self.price, self.cap, self.lane, self.expires, least=0)
        paid = [number > 0 for number in (self.price, self.lane, self.cap, self.expires)]
        if any(paid) is not all(paid) or not 1 <= self.pay_every <= MAX_PAY_EVERY:
            raise ValueError("terms that neither pay nor are free, or an impossible interval")
        if not self.pay_every <= self.max_unpaid_steps <= UNPAID_WINDOWS * self.pay_every:
            raise ValueError("terms that ask for more work in advance than any provider gives")


@dataclass(frozen=True, slots=True)
class Receipted:
    """Our end's signature on what crossed one of our stage's boundaries."""

    receipt: SignedReceipt


@dataclass(frozen=True, slots=True)
class VoucherNote:
    """A voucher (wire form) and the receipts it pays for."""

    voucher: bytes
    receipts: tuple[CountersignedReceipt, ...]
    forwards: int
    """Micro-batches that it pays: at the end of a run that broke perhaps fewer than the receipts have."""
    backwards: int

    def __post_init__(self) -> None:
        check_amounts(self.forwards, self.backwards, least=0)
        if len(self.voucher) > MAX_VOUCHER_BYTES or len(self.receipts) > MAX_NOTE_RECEIPTS:
            raise ValueError("a voucher that is too long, or with too many receipts")


@dataclass(frozen=True, slots=True)
class LastReceipts:
    """The run is over: sign what crossed since your last receipts."""


@dataclass(frozen=True, slots=True)
class ReceiptsDone:
    """Nothing else crossed here."""


@dataclass(frozen=True, slots=True)
class AskRelease:
    """This is what your lane pays in the end. Release it?"""

    total: int
    """Of the newest voucher; 0 if there is none."""

    def __post_init__(self) -> None:
        check_amounts(self.total, least=0)


@dataclass(frozen=True, slots=True)
class LaneReleased:
    """A signed ``LaneRelease`` (wire form)."""

    release: bytes

    def __post_init__(self) -> None:
        if len(self.release) > MAX_VOUCHER_BYTES:
            raise ValueError("a release that is too long")


# --- from a provider that was away


@dataclass(frozen=True, slots=True)
class GetVoucher:
    """What is your newest voucher for me on this lane of yours?"""

    lane: int

    def __post_init__(self) -> None:
        check_amounts(self.lane)


@dataclass(frozen=True, slots=True)
class NewestVoucher:
    """The voucher (wire form; empty if there is none), and whether more may follow."""

    voucher: bytes
    over: bool
    """The run is over, in this term."""

    def __post_init__(self) -> None:
        if len(self.voucher) > MAX_VOUCHER_BYTES:
            raise ValueError("a voucher that is too long")


@dataclass(frozen=True, slots=True)
class GiveRelease:
    """The lane may be closed (wire form of a ``LaneRelease``)."""

    release: bytes

    def __post_init__(self) -> None:
        if len(self.release) > MAX_VOUCHER_BYTES:
            raise ValueError("a release that is too long")


@dataclass(frozen=True, slots=True)
class LaneClosing:
    """It will be."""


PAY_FROM_COORDINATOR: tuple[type[object], ...] = (Terms, VoucherNote, LastReceipts, AskRelease)
PAY_FROM_MEMBER: tuple[type[object], ...] = (Receipted, ReceiptsDone, LaneReleased)
