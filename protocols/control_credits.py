"""Credits on the control socket: what the daemon says of its account, its runs' invoices and the ledger.

Every amount is in whole micro-credits; every hash and signature is in hex; every time is in Unix seconds.
``as_json`` of ``protocols.control`` makes the object that travels, the functions below read it again.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from swarmd.protocols.control_entries import OpView

FINAL, PENDING, QUEUED = "final", "pending", "queued"
"""States of an entry: certified; signed and on disk; waiting for the entry before it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SpendingView:
    """What a run costs its submitter, while it runs."""

    estimate: int
    spent: int
    """Vouchers so far."""
    locked: int
    left: int
    """Of the budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CreditsView:
    """The account in one line, for the screens that show other things as well."""

    balance: int
    locked: int
    bonded: int
    pending: int
    """Earned, not claimed yet."""
    final: int
    """Earned and claimed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnbondingView:
    """Stake on its way back."""

    entry: int
    """The number of the entry that unstaked it."""
    amount: int
    due: float | None
    """From when on the committee lets it go, by our clock; None where that is not known here."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PendingView:
    """An entry that is not final yet."""

    entry: str
    seq: int
    since: float
    ops: tuple[OpView, ...]
    """What it does, with amounts and receivers."""
    balance: int
    """After it."""
    weight: int
    """Of the votes so far."""
    quorum: int
    why: str
    """Why it is not final yet, in words."""
    reasons: dict[str, str]
    """By member: why it has not voted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WalletView:
    """Our account. On a network without credits only ``enabled``, ``account`` and the network's names say anything."""

    enabled: bool
    account: str
    network: str
    """The network's id: every signature covers it."""
    network_name: str
    seq: int = 0
    """Of the newest entry; 0 before the first."""
    balance: int = 0
    """By the newest final entry."""
    balance_after: int = 0
    """Once the pending entry, and what waits behind it, are final."""
    pending_in: int = 0
    """Paid to us and not claimed yet."""
    locked: int = 0
    bonded: int = 0
    unbonding: tuple[UnbondingView, ...] = ()
    frozen: bool = False
    """A proof of two contradicting signatures is known: nobody votes for this account any more."""
    burned: int = 0
    pending: PendingView | None = None
    waiting: int = 0
    """Writes that are not signed yet; they are lost if the daemon ends before they are."""
    queued: tuple[OpView, ...] = ()
    """What these do."""
    obstacle: str = ""
    """Why nothing can be signed now; empty if nothing is in the way."""
    target_stake: int = 0
    """Half of what is earned is staked until this is bonded."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeView:
    """Whom a payment would go to, as far as this node knows."""

    peer: str
    name: str
    """By its advert; empty where none is known."""
    seen: bool
    """Whether a node or an account of this id was ever seen here; a mistyped id was not."""
    us: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WriteView:
    """How far an entry that was asked for has come."""

    state: str
    """QUEUED, PENDING or FINAL."""
    entry: str = ""
    """Empty while queued."""
    seq: int = 0
    why: str = ""
    """Why it is queued, in words."""
    pending: PendingView | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceLine:
    """Work of one stage in one term; of one voucher if the invoice was asked for in detail."""

    stage: int
    provider: str
    lane: int
    first_layer: int
    last_layer: int
    """Inclusive."""
    term: int
    first_step: int
    end_step: int
    forwards: int
    """Micro-batches on their way to the loss."""
    backwards: int
    operations: int
    price: int
    """Micro-credits per 10^12 operations."""
    amount: int
    voucher: int
    """The newest voucher's number."""
    work_root: str
    """Of the newest voucher."""
    receipts: int


@dataclass(frozen=True, slots=True, kw_only=True)
class InvoiceView:
    """What a run cost, with the proof of every line."""

    enabled: bool
    """False on a network without credits: nothing is ever paid there."""
    run: str
    payer: str
    role: str
    """``payer`` for our own run, ``provider`` for another's that we worked on."""
    lines: tuple[InvoiceLine, ...]
    more: bool
    """In detail there are further lines after these."""
    invoiced: int
    """By the newest vouchers."""
    receipted: int
    """Computed anew from the operations of every line and the lane's price."""
    paid: int
    """Settled on the ledger."""
    locked: int
    refunded: int
    balanced: bool
    """Every lane's voucher, lines and settlement agree."""
    problems: tuple[str, ...]
    """Why not, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberView:
    """A member of the committee."""

    peer: str
    weight: int
    us: bool
    answers: bool
    in_step: bool | None
    """It knows the same heads as we do; None where it does not answer."""
    frozen: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class SupplyView:
    """Where all credits are; ``total`` is what the genesis granted."""

    granted: int
    balances: int
    locked: int
    bonded: int
    unbonding: int
    burned: int
    in_flight: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerView:
    """The ledger as this node knows it."""

    enabled: bool
    network: str
    network_name: str
    committee: int = 0
    members: tuple[MemberView, ...] = ()
    weight: int = 0
    quorum: int = 0
    answering: int = 0
    """Weight of the members that answer."""
    accounts: int = 0
    proofs: tuple[str, ...] = ()
    """Who has been proven guilty."""
    root: str = ""
    """Over all certified heads: nodes of one root know the same."""
    supply: SupplyView | None = None


def wallet_view(obj: dict[str, Any]) -> WalletView:
    """A WalletView from its JSON object."""
    unbonding = tuple(UnbondingView(**item) for item in obj["unbonding"])
    queued = tuple(OpView(**op) for op in obj["queued"])
    known: dict[str, Any] = {**obj, "unbonding": unbonding, "queued": queued, "pending": _pending(obj["pending"])}
    return WalletView(**known)


def payee_view(obj: dict[str, Any]) -> PayeeView:
    """A PayeeView from its JSON object."""
    return PayeeView(**obj)


def write_view(obj: dict[str, Any]) -> WriteView:
    """A WriteView from its JSON object."""
    known: dict[str, Any] = {**obj, "pending": _pending(obj["pending"])}
    return WriteView(**known)


def invoice_view(obj: dict[str, Any]) -> InvoiceView:
    """An InvoiceView from its JSON object."""
    lines = tuple(InvoiceLine(**line) for line in obj["lines"])
    known: dict[str, Any] = {**obj, "lines": lines, "problems": tuple(obj["problems"])}
    return InvoiceView(**known)


def ledger_view(obj: dict[str, Any]) -> LedgerView:
    """A LedgerView from its JSON object."""
    known: dict[str, Any] = {
        **obj,
        "members": tuple(MemberView(**member) for member in obj["members"]),
        "proofs": tuple(obj["proofs"]),
        "supply": SupplyView(**obj["supply"]) if obj["supply"] else None,
    }
    return LedgerView(**known)


def _pending(obj: dict[str, Any] | None) -> PendingView | None:
    if not obj:
        return None
    known: dict[str, Any] = {**obj, "ops": tuple(OpView(**op) for op in obj["ops"])}
    return PendingView(**known)
