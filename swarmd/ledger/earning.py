"""What the work here brings: lanes others pay from, what was claimed of them, and what the energy leaves. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

from swarmd.config import Config
from swarmd.ledger.energy import EnergyMeter, day_of
from swarmd.ledger.jobsdb import LaneRecord
from swarmd.protocols.control_credits import CreditsView
from swarmd.protocols.control_earn import DayView, EarnedView, EnergyView, JobEarningView
from swarmd.protocols.control_entries import HistoryLine
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.account import AccountState
from swarmd.protocols.ledger.amounts import MICRO
from swarmd.protocols.ledger.replica import Replica

LaneKey = tuple[PeerId, int]
"""Payer and number."""
SETTLED = "settled"
MAX_DAYS, MAX_JOBS = 30, 50


def is_settled(lane: LaneRecord, payer: AccountState) -> bool:
    """Whether the payer's certified state says that this lane of its is over."""
    return lane.lane <= payer.lanes_opened and payer.lane(lane.lane) is None


def pending_of(lanes: Sequence[LaneRecord], replica: Replica, account: PeerId) -> dict[LaneKey, int]:
    """What each lane's voucher still has to bring, by payer and number.

    What was claimed of a payer's open lanes ahead of its settling them counts for its oldest ones; what it has
    settled and we have not claimed yet counts for its newest ones.
    """
    pending: dict[LaneKey, int] = {}
    for payer in {lane.payer for lane in lanes}:
        state = replica.state(payer)
        sent, received = state.sent_to(account), replica.state(account).received_from(payer)
        theirs = sorted((lane for lane in lanes if lane.payer == payer), key=lambda lane: lane.lane)
        going = [lane for lane in theirs if not is_settled(lane, state)]
        over = [lane for lane in reversed(theirs) if is_settled(lane, state)]
        claimed = _spread(going, max(0, received - sent))
        pending |= {_key(lane): lane.total - claimed[_key(lane)] for lane in going}
        pending |= _spread(over, max(0, sent - received))
    return pending


def _spread(lanes: Sequence[LaneRecord], amount: int) -> dict[LaneKey, int]:
    """An amount over lanes, each up to its total, the first ones first."""
    shares: dict[LaneKey, int] = {}
    for lane in lanes:
        shares[_key(lane)] = min(lane.total, amount)
        amount -= shares[_key(lane)]
    return shares


def _key(lane: LaneRecord) -> LaneKey:
    return lane.payer, lane.lane


def earned_view(
    lanes: Sequence[LaneRecord],
    replica: Replica,
    pending: Mapping[LaneKey, int],
    receipts: Mapping[LaneKey, int],
    history: Sequence[HistoryLine],
    *,
    held: int,
    slashed: int,
    now: float,
) -> EarnedView:
    """Where the earnings stand, by lanes alone. ``history``: our entries, to name those that claimed."""
    days = _days(lanes, pending, history)
    today = next((day.final for day in days if day.day == day_of(now)), 0)
    newest = sorted(lanes, key=lambda lane: -lane.updated)
    return EarnedView(
        today=today,
        pending=sum(pending.values()),
        final=sum(lane.total for lane in lanes) - sum(pending.values()),
        held=held,
        slashed=slashed,
        days=days[:MAX_DAYS],
        jobs=tuple(_job(lane, replica.state(lane.payer), pending, receipts) for lane in newest[:MAX_JOBS]),
    )


def energy_view(meter: EnergyMeter, config: Config, earned: EarnedView) -> EnergyView:
    """Energy and money since the first day that was measured."""
    since = min(meter.days, default="")
    kwh = sum(meter.days.values())
    brought = earned.pending + sum(day.final for day in earned.days if since and day.day >= since)
    cost = kwh * config.kwh_price
    gross = brought / MICRO * config.credit_value if config.credit_value else None
    net = None if gross is None else gross - cost
    return EnergyView(
        source=meter.source,
        since=since,
        kwh_today=meter.days.get(day_of(meter.clock()), 0.0),
        kwh=kwh,
        kwh_price=config.kwh_price,
        currency=config.currency,
        cost=cost,
        credit_value=config.credit_value,
        earned=brought,
        gross=gross,
        net=net,
        warning=_warning(net, config.currency),
    )


def credits_view(state: AccountState, earned: EarnedView) -> CreditsView:
    """The account in one line."""
    return CreditsView(
        balance=state.balance, locked=state.locked, bonded=state.bonded, pending=earned.pending, final=earned.final
    )


def _job(
    lane: LaneRecord, payer: AccountState, pending: Mapping[LaneKey, int], receipts: Mapping[LaneKey, int]
) -> JobEarningView:
    waiting = pending.get(_key(lane), 0)
    return JobEarningView(
        run=lane.run,
        payer=lane.payer,
        lane=lane.lane,
        stage=lane.stage,
        state=SETTLED if is_settled(lane, payer) else lane.state,
        pending=waiting,
        final=lane.total - waiting,
        number=lane.number,
        receipts=receipts.get(_key(lane), 0) if waiting else 0,
        expires=lane.expires,
    )


def _days(
    lanes: Sequence[LaneRecord], pending: Mapping[LaneKey, int], history: Sequence[HistoryLine]
) -> tuple[DayView, ...]:
    """What lanes brought by day, newest first; a claim may take payments along, which are no earnings.

    A lane counts on the day of its newest news: the claim of its settlement, or the voucher that was claimed.
    """
    amounts: dict[str, int] = defaultdict(int)
    payers: dict[str, set[PeerId]] = defaultdict(set)
    for lane in lanes:
        if final := lane.total - pending.get(_key(lane), 0):
            amounts[day_of(lane.updated)] += final
            payers[day_of(lane.updated)].add(lane.payer)
    return tuple(
        DayView(day=day, final=amounts[day], entries=_claims(history, day, payers[day]))
        for day in sorted(amounts, reverse=True)
    )


def _claims(history: Sequence[HistoryLine], day: str, payers: set[PeerId]) -> tuple[str, ...]:
    return tuple(
        line.entry
        for line in history
        if day_of(line.time) == day and any(op.kind == "claim" and op.peer in payers for op in line.ops)
    )


def _warning(net: float | None, currency: str) -> str:
    if net is None or net >= 0:
        return ""
    return f"the energy costs {-net:.3g} {currency} more than the work brings: ask a higher price, or stop"
