"""Entries on the control socket: the account's history, and what an entry and a voucher rest on, down to signed bytes.

Amounts, hashes and times as in ``control_credits``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class OpView:
    """One operation of an entry."""

    kind: str
    words: str
    amount: int
    """What it moves, positive; 0 where that cannot be told without the entry before."""
    peer: str = ""
    lane: int = 0
    run: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLine:
    """One entry of our chain."""

    seq: int
    entry: str
    time: float
    state: str
    """FINAL or PENDING."""
    ops: tuple[OpView, ...]
    change: int | None
    """Of the balance; None where the entry before is no longer kept."""
    balance: int
    """After it."""
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StateView:
    """An account's sums at one entry."""

    balance: int
    locked: int
    bonded: int
    unbonding: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VoteView:
    """A member's vote, or why there is none."""

    member: str
    weight: int
    voted: bool
    holds: bool
    """The signature was checked and is the member's."""
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceView:
    """A signed thing that an entry rests on."""

    kind: str
    """``head``, ``claim certificate``, ``close certificate``, ``maturity certificate``, ``voucher``, ``release``."""
    words: str
    sha256: str
    holds: bool
    """Every signature in it was checked."""
    payer: str = ""
    lane: int = 0
    vouchers: tuple[int, ...] = ()
    """Of a voucher: the lane's newest numbers with receipts; with payer and lane what ``receipts`` takes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExplainView:
    """An entry with all that it rests on."""

    line: HistoryLine
    prev: str
    before: StateView | None
    """None where the entry before is no longer kept."""
    after: StateView
    signed: bool
    """The owner's signature was checked and holds."""
    state_matches: bool
    """The state kept with it has the hash that the entry names."""
    committee: int
    weight: int
    quorum: int
    votes: tuple[VoteView, ...]
    evidence: tuple[EvidenceView, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptView:
    """What crossed one boundary, signed by both of its ends."""

    term: int
    boundary: int
    first_step: int
    end_step: int
    forwards: int
    backwards: int
    root: str
    sha256: str
    """Of ``raw``."""
    signers: tuple[str, ...]
    holds: bool
    """Both signatures were checked and hold."""
    raw: str
    """The countersigned receipt's canonical bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptsView:
    """The receipts that one voucher pays for."""

    payer: str
    lane: int
    number: int
    work_root: str
    """As the voucher names it."""
    root_matches: bool
    """The receipts add up to that root."""
    receipts: tuple[ReceiptView, ...]

    @property
    def holds(self) -> bool:
        """The root fits, and every signature holds."""
        return self.root_matches and all(receipt.holds for receipt in self.receipts)


def history_line(obj: dict[str, Any]) -> HistoryLine:
    """A HistoryLine from its JSON object."""
    known: dict[str, Any] = {**obj, "ops": tuple(OpView(**op) for op in obj["ops"])}
    return HistoryLine(**known)


def explain_view(obj: dict[str, Any]) -> ExplainView:
    """An ExplainView from its JSON object."""
    known: dict[str, Any] = {
        **obj,
        "line": history_line(obj["line"]),
        "before": StateView(**obj["before"]) if obj["before"] else None,
        "after": StateView(**obj["after"]),
        "votes": tuple(VoteView(**vote) for vote in obj["votes"]),
        "evidence": tuple(_evidence(each) for each in obj["evidence"]),
    }
    return ExplainView(**known)


def receipts_view(obj: dict[str, Any]) -> ReceiptsView:
    """A ReceiptsView from its JSON object."""
    known: dict[str, Any] = {**obj, "receipts": tuple(_receipt(each) for each in obj["receipts"])}
    return ReceiptsView(**known)


def _evidence(obj: dict[str, Any]) -> EvidenceView:
    known: dict[str, Any] = {**obj, "vouchers": tuple(obj["vouchers"])}
    return EvidenceView(**known)


def _receipt(obj: dict[str, Any]) -> ReceiptView:
    known: dict[str, Any] = {**obj, "signers": tuple(obj["signers"])}
    return ReceiptView(**known)
