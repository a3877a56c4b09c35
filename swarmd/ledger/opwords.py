"""The operations of an entry in words, with what each moves."""

from __future__ import annotations

from collections.abc import Sequence

from swarmd.protocols.control_entries import OpView
from swarmd.protocols.ids import short
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.entry import Claim, LaneFund, LaneOpen, LaneSettle, Op, Pay, Release, Stake, Unstake


def op_views(ops: Sequence[Op], before: AccountState | None, after: AccountState) -> tuple[OpView, ...]:
    """Each operation of an entry. ``before`` is None where that state is no longer kept."""
    opened = after.lanes_opened - sum(isinstance(op, LaneOpen) for op in ops)
    views: list[OpView] = []
    for op in ops:
        opened += isinstance(op, LaneOpen)
        views.append(_lane_view(op, opened, before, after) or _own_view(op, before))
    return tuple(views)


def _own_view(op: Op, before: AccountState | None) -> OpView:
    match op:
        case Pay():
            return OpView(kind="pay", words=f"{_sum(op.amount)} to {short(op.payee)}", amount=op.amount, peer=op.payee)
        case Claim():
            gain = op.total - before.received_from(op.payer) if before else 0
            words = f"{_sum(gain)} from {short(op.payer)}" if before else f"all that {short(op.payer)} paid so far"
            return OpView(kind="claim", words=words, amount=gain, peer=op.payer)
        case Stake():
            return OpView(kind="stake", words=f"{_sum(op.amount)} staked", amount=op.amount)
        case Unstake():
            words = f"{_sum(op.amount)} unstaked; it comes back after the cooldown"
            return OpView(kind="unstake", words=words, amount=op.amount)
        case Release():
            amount = next((item.amount for item in before.unbonding if item.seq == op.seq), 0) if before else 0
            what = f"{_sum(amount)}, unstaked by entry {op.seq}," if amount else f"what entry {op.seq} unstaked"
            return OpView(kind="release", words=f"{what} is back", amount=amount)
        case _:
            raise TypeError(f"{type(op).__name__} is an operation on a lane")


def _lane_view(op: Op, opened: int, before: AccountState | None, after: AccountState) -> OpView | None:
    match op:
        case LaneOpen():
            words = f"lane {opened}: {_sum(op.cap)} set aside for {short(op.provider)}'s work on run {short(op.run)}"
            return OpView(kind="lane_open", words=words, amount=op.cap, peer=op.provider, lane=opened, run=op.run)
        case LaneFund():
            peer, run = _of_lane(op.number, before, after)
            return OpView(
                kind="lane_fund",
                words=f"lane {op.number}: {_sum(op.amount)} more set aside",
                amount=op.amount,
                peer=peer,
                lane=op.number,
                run=run,
            )
        case LaneSettle():
            return _settled(op, before, after)
        case _:
            return None


def _settled(op: LaneSettle, before: AccountState | None, after: AccountState) -> OpView:
    peer, run = _of_lane(op.number, before, after)
    lane = before.lane(op.number) if before else None
    words = f"lane {op.number} settled: {_sum(op.paid)} paid"
    if lane is not None:
        words += f" to {short(lane.provider)}, {format_credits(lane.cap - op.paid)} of {format_credits(lane.cap)} back"
    return OpView(kind="lane_settle", words=words, amount=op.paid, peer=peer, lane=op.number, run=run)


def _of_lane(number: int, before: AccountState | None, after: AccountState) -> tuple[str, str]:
    """Whose lane this is, and for which run; empty where neither state has it."""
    lane = (before.lane(number) if before else None) or after.lane(number)
    return (lane.provider, lane.run) if lane else ("", "")


def _sum(amount: int) -> str:
    text = format_credits(amount)
    return f"{text} credit" if text == "1" else f"{text} credits"
