"""What operations do to an account's state. Nothing here looks at anybody else's account, or at a clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import EntryId, PeerId
from swarmd.protocols.ledger.account import AccountState, Lane, Total, Unbonding
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.entry import (
    Claim,
    Entry,
    LaneFund,
    LaneOpen,
    LaneSettle,
    Op,
    Pay,
    Release,
    Stake,
    Unstake,
)
from swarmd.protocols.ledger.heads import state_hash


def apply_ops(state: AccountState, seq: int, ops: tuple[Op, ...]) -> AccountState:
    """The state after an entry ``seq`` with these operations, done in order.

    The balance counts at the end: an entry may spend what it claims, whatever stands first.

    Raises:
        ProtocolViolation: an operation cannot be done, or the balance would be below zero; says which and why.
    """
    draft = _Draft(
        seq,
        {total.peer: total.amount for total in state.sent},
        {total.peer: total.amount for total in state.received},
        {lane.number: lane for lane in state.lanes},
        {item.seq: item.amount for item in state.unbonding},
        (state.staked, state.unstaked, state.released),
        state.lanes_opened,
    )
    for op in ops:
        draft.apply(op)
    try:
        after = draft.state(state.granted)
    except ValueError as error:
        raise ProtocolViolation(f"an account cannot come to that: {error}") from error
    if after.balance < 0:
        missing, there = format_credits(-after.balance), format_credits(state.balance)
        raise ProtocolViolation(f"the balance of {there} credits is {missing} too small")
    return after


def next_entry(
    account: PeerId, seq: int, prev: EntryId, state: AccountState, ops: tuple[Op, ...], now: float
) -> tuple[Entry, AccountState]:
    """The owner's next entry on ``state`` (after entry ``prev``), and the state after it. ``now`` in Unix seconds.

    Raises:
        UsageError: the operations cannot be done; with words for the owner.
    """
    try:
        after = apply_ops(state, seq, ops)
        entry = Entry(account=account, seq=seq, prev=prev, time=int(now), ops=ops, state_hash=state_hash(after))
    except (ProtocolViolation, ValueError) as error:
        raise UsageError(f"this cannot be written: {error}", hint="swarmd wallet balance") from error
    return entry, after


@dataclass(slots=True)
class _Draft:
    """A state that is being changed."""

    seq: int
    sent: dict[PeerId, int]
    received: dict[PeerId, int]
    lanes: dict[int, Lane]
    unbonding: dict[int, int]
    stakes: tuple[int, int, int]
    """Staked, unstaked, released."""
    lanes_opened: int

    def apply(self, op: Op) -> None:
        match op:
            case Pay():
                self.sent[op.payee] = self.sent.get(op.payee, 0) + op.amount
            case Claim():
                self._claim(op)
            case Stake() | Unstake() | Release():
                self._stake(op)
            case LaneOpen():
                self.lanes_opened += 1
                self.lanes[self.lanes_opened] = Lane(self.lanes_opened, op.run, op.provider, op.cap, op.expires)
            case LaneFund():
                self._fund(op)
            case _:  # LaneSettle, the only one left: another kind of Op would not pass the type check
                self._settle(op)

    def state(self, granted: int) -> AccountState:
        """Raises ValueError for a state that no account can have."""
        staked, unstaked, released = self.stakes
        return AccountState(
            granted=granted,
            sent=tuple(Total(peer, self.sent[peer]) for peer in sorted(self.sent)),
            received=tuple(Total(peer, self.received[peer]) for peer in sorted(self.received)),
            staked=staked,
            unstaked=unstaked,
            released=released,
            unbonding=tuple(Unbonding(seq, amount) for seq, amount in sorted(self.unbonding.items())),
            lanes_opened=self.lanes_opened,
            lanes=tuple(self.lanes[number] for number in sorted(self.lanes)),
        )

    def _claim(self, op: Claim) -> None:
        before = self.received.get(op.payer, 0)
        if op.total <= before:
            raise ProtocolViolation(f"{format_credits(before)} credits of {op.payer} are claimed already")
        self.received[op.payer] = op.total

    def _stake(self, op: Stake | Unstake | Release) -> None:
        staked, unstaked, released = self.stakes
        if isinstance(op, Stake):
            staked += op.amount
        elif isinstance(op, Unstake):
            unstaked += op.amount
            self.unbonding[self.seq] = self.unbonding.get(self.seq, 0) + op.amount
        else:
            released += self._matured(op.seq)
        if unstaked > staked:
            bonded = format_credits(self.stakes[0] - self.stakes[1])
            raise ProtocolViolation(f"only {bonded} credits are staked" if bonded != "0" else "nothing is staked")
        self.stakes = (staked, unstaked, released)

    def _matured(self, seq: int) -> int:
        if seq not in self.unbonding or seq == self.seq:
            raise ProtocolViolation(f"entry {seq} has nothing on its way back from stake")
        return self.unbonding.pop(seq)

    def _fund(self, op: LaneFund) -> None:
        lane = self._lane(op.number)
        try:
            self.lanes[op.number] = replace(lane, cap=lane.cap + op.amount)
        except ValueError as error:
            raise ProtocolViolation(f"lane {op.number}: {error}") from error

    def _settle(self, op: LaneSettle) -> None:
        lane = self._lane(op.number)
        if op.paid > lane.cap:
            raise ProtocolViolation(f"lane {op.number} holds {format_credits(lane.cap)} credits, no more")
        del self.lanes[op.number]
        if op.paid:
            self.sent[lane.provider] = self.sent.get(lane.provider, 0) + op.paid

    def _lane(self, number: int) -> Lane:
        if number not in self.lanes:
            raise ProtocolViolation(f"there is no open lane {number}")
        return self.lanes[number]
