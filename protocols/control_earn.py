"""Earnings on the control socket: what this node does now, what it brings, and what the energy for it costs.

Amounts and times as in ``control_credits``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class NowView:
    """What this node does at this moment."""

    state: str
    """``working`` or ``idle``."""
    why_idle: str
    run: str
    stage: str
    steps_per_s: float | None
    power_w: float | None
    temperature_c: float | None
    price: int
    """Micro-credits per 10^12 operations."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DayView:
    """What work brought on one day (local time), claimed; payments are not in it."""

    day: str
    final: int
    entries: tuple[str, ...]
    """Those that claimed it; each may have taken a payment along."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEarningView:
    """What one job brings."""

    run: str
    payer: str
    lane: int
    stage: str
    state: str
    """Of the lane: ``open``, ``closing`` or ``settled``."""
    pending: int
    final: int
    number: int
    """Of the newest voucher."""
    receipts: int
    """Behind vouchers that are not claimed yet."""
    expires: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EarnedView:
    """Where the earnings stand: what work brings. Payments, such as gifts, are not in it."""

    today: int
    pending: int
    """Vouchers that are not claimed yet."""
    final: int
    held: int
    """Bonded as stake."""
    slashed: int
    days: tuple[DayView, ...]
    """Newest first."""
    jobs: tuple[JobEarningView, ...]
    """Newest first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyView:
    """What the work took and what it leaves, since measuring began."""

    source: str
    """``measured``, ``setting`` (power_watts) or empty: not known."""
    since: str
    """The first day that was measured."""
    kwh_today: float
    kwh: float
    kwh_price: float
    currency: str
    cost: float
    credit_value: float
    earned: int
    """Claimed since then, and pending."""
    gross: float | None
    """``earned`` in the currency; None where the owner has set no value for a credit."""
    net: float | None
    warning: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EarnView:
    """What ``swarmd earn`` shows."""

    enabled: bool
    network_name: str
    now: NowView
    earned: EarnedView
    energy: EnergyView


def earn_view(obj: dict[str, Any]) -> EarnView:
    """An EarnView from its JSON object."""
    known: dict[str, Any] = {
        **obj,
        "now": NowView(**obj["now"]),
        "earned": _earned(obj["earned"]),
        "energy": EnergyView(**obj["energy"]),
    }
    return EarnView(**known)


def _earned(obj: dict[str, Any]) -> EarnedView:
    jobs = tuple(JobEarningView(**job) for job in obj["jobs"])
    known: dict[str, Any] = {**obj, "days": tuple(_day(day) for day in obj["days"]), "jobs": jobs}
    return EarnedView(**known)


def _day(obj: dict[str, Any]) -> DayView:
    known: dict[str, Any] = {**obj, "entries": tuple(obj["entries"])}
    return DayView(**known)
