"""The state of one account: counters that only grow, written by their owner alone.

The balance follows from the owner's own chain. A lane that is settled leaves the state: its paid part is in
``sent``, and its number, never used again, is at most ``lanes_opened``.
"""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.ledger.amounts import check_amounts
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.records import from_value, to_value

MAX_STATE_BYTES = 1 << 16
MAX_COUNTERPARTIES = 256
MAX_LANES = 64
MAX_UNBONDING = 16
_MAX_SEQ = 1 << 40


@dataclass(frozen=True, slots=True)
class Total:
    """Micro-credits to or from one peer, ever."""

    peer: PeerId
    amount: int

    def __post_init__(self) -> None:
        check_amounts(self.amount, least=0)


@dataclass(frozen=True, slots=True)
class Lane:
    """Credits set aside for one provider's work on one run."""

    number: int
    """Counts the payer's lanes from 1; with the payer's id it names the lane for ever."""
    run: RunId
    provider: PeerId
    cap: int
    expires: int
    """Unix seconds."""

    def __post_init__(self) -> None:
        check_amounts(self.cap)
        if not 1 <= self.number < _MAX_SEQ or not 0 <= self.expires < 1 << 40:
            raise ValueError("an impossible lane")


@dataclass(frozen=True, slots=True)
class Unbonding:
    """Stake on its way back, named by the entry that unstaked it."""

    seq: int
    amount: int

    def __post_init__(self) -> None:
        check_amounts(self.amount)
        if not 1 <= self.seq < _MAX_SEQ:
            raise ValueError("an impossible entry number")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccountState:
    """Everything about one account. All amounts in micro-credits."""

    granted: int
    sent: tuple[Total, ...] = ()
    """By payee, sorted."""
    received: tuple[Total, ...] = ()
    """By payer, sorted: what was claimed, from payments and lanes alike."""
    staked: int = 0
    unstaked: int = 0
    released: int = 0
    unbonding: tuple[Unbonding, ...] = ()
    lanes_opened: int = 0
    lanes: tuple[Lane, ...] = ()
    """The open ones, by number."""

    def __post_init__(self) -> None:
        check_amounts(self.granted, self.staked, self.unstaked, self.released, least=0)
        if not 0 <= self.lanes_opened < _MAX_SEQ:
            raise ValueError("an impossible number of lanes")
        for totals in (self.sent, self.received):
            peers = [total.peer for total in totals]
            if len(peers) > MAX_COUNTERPARTIES or peers != sorted(set(peers)):
                raise ValueError(f"at most {MAX_COUNTERPARTIES} counterparties, sorted, each once")
        numbers = [lane.number for lane in self.lanes]
        if len(numbers) > MAX_LANES or numbers != sorted(set(numbers)) or numbers[-1:] > [self.lanes_opened]:
            raise ValueError(f"at most {MAX_LANES} open lanes, by number")
        paid = {total.peer for total in self.sent} | {lane.provider for lane in self.lanes}
        if len(paid) > MAX_COUNTERPARTIES:
            raise ValueError(f"at most {MAX_COUNTERPARTIES} payees, with the providers of open lanes")
        waiting = [item.seq for item in self.unbonding]
        if len(waiting) > MAX_UNBONDING or waiting != sorted(set(waiting)):
            raise ValueError(f"at most {MAX_UNBONDING} amounts unbonding, in order")
        if sum(item.amount for item in self.unbonding) != self.unstaked - self.released or self.bonded < 0:
            raise ValueError("stake counters that do not fit together")

    @property
    def balance(self) -> int:
        """What can be spent now; a valid state has none below zero."""
        income = self.granted + sum(total.amount for total in self.received) + self.released
        return income - sum(total.amount for total in self.sent) - self.locked - self.staked

    @property
    def locked(self) -> int:
        """Set aside in open lanes."""
        return sum(lane.cap for lane in self.lanes)

    @property
    def bonded(self) -> int:
        """Staked, and not on its way back."""
        return self.staked - self.unstaked

    @property
    def unbonding_total(self) -> int:
        """Unstaked, and not released yet."""
        return self.unstaked - self.released

    def sent_to(self, peer: PeerId) -> int:
        """All that was ever sent to a peer."""
        return _amount(self.sent, peer)

    def received_from(self, peer: PeerId) -> int:
        """All that was ever claimed from a peer."""
        return _amount(self.received, peer)

    def lane(self, number: int) -> Lane | None:
        """The open lane of this number."""
        return next((lane for lane in self.lanes if lane.number == number), None)

    def to_bytes(self) -> bytes:
        """The canonical form."""
        return encode(to_value(self))


def born(genesis: Genesis, account: PeerId) -> AccountState:
    """The state before an account's first entry."""
    return AccountState(granted=genesis.granted(account))


def parse_state(raw: bytes) -> AccountState:
    """Read the canonical form. Raises ProtocolViolation."""
    return from_value(AccountState, decode(raw, limit=MAX_STATE_BYTES))


def _amount(totals: tuple[Total, ...], peer: PeerId) -> int:
    return next((total.amount for total in totals if total.peer == peer), 0)
