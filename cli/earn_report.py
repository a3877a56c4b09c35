"""Earnings in words: what ``swarmd earn`` prints."""

from __future__ import annotations

import time

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmd.cli import tables, units
from swarmd.cli.palette import ACCENT, BAD, DIM, GOOD, STRONG, WARN
from swarmd.cli.wallet_report import Rows, no_credits
from swarmd.protocols.control_earn import EarnedView, EarnView, EnergyView, NowView
from swarmd.protocols.ledger.amounts import format_credits

MAX_DAYS, MAX_JOBS = 7, 12


def earn(view: EarnView) -> RenderableType:
    """Now, earned, energy."""
    parts: list[RenderableType] = [tables.grid(_now(view.now)), Text()]
    if not view.enabled:
        return Group(*parts, Text(no_credits(view.network_name)))
    parts.append(tables.grid([*_earned(view.earned), *_energy(view.energy)]))
    if view.earned.jobs:
        parts += [Text(), _jobs(view.earned, time.time())]
    if view.earned.days:
        parts += [Text(), _days(view.earned)]
    return Group(*parts)


def _now(now: NowView) -> Rows:
    working = now.state == "working"
    pace = [] if now.steps_per_s is None else [("steps/s", f"{now.steps_per_s:.2f}")]
    power = [] if now.power_w is None else [("power", f"{now.power_w:.0f} W")]
    heat = [] if now.temperature_c is None else [("temperature", f"{now.temperature_c:.0f} °C")]
    return [
        ("now", Text(now.state, style=GOOD if working else WARN)),
        *([("why idle", now.why_idle)] if now.why_idle else []),
        *([("run", units.short_id(now.run)), ("stage", now.stage)] if working else []),
        *pace,
        *power,
        *heat,
        ("price", f"{now.price:,} micro-credits per 10^12 operations" if now.price else "0: your work is free"),
    ]


def _earned(earned: EarnedView) -> Rows:
    return [
        ("earned today", Text(f"{units.credits(earned.today)}  for work, claimed", style=STRONG)),
        ("pending", f"{units.credits(earned.pending)}  vouchers that are not claimed yet"),
        ("final", f"{units.credits(earned.final)}  for work, claimed, all in all; payments are not counted"),
        *([("held", f"{units.credits(earned.held)}  staked")] if earned.held else []),
        *([("slashed", Text(units.credits(earned.slashed), style=BAD))] if earned.slashed else []),
    ]


def _energy(energy: EnergyView) -> Rows:
    if not energy.source and not energy.kwh:
        return [("energy", "not known: this device does not tell its power; the setting power_watts says it")]
    how = "as the device tells it" if energy.source == "measured" else "by power_watts"
    rows: Rows = [
        ("energy", f"{energy.kwh:.3f} kWh since {energy.since}, {energy.kwh_today:.3f} today ({how})")
        if energy.since
        else ("energy", f"nothing used yet ({how})")
    ]
    if not energy.kwh_price:
        return [*rows, ("cost", "not known: the setting kwh_price says what a kWh costs you")]
    rows.append(("cost", f"{units.money(energy.cost, energy.currency)} at {energy.kwh_price:g} {energy.currency}/kWh"))
    if energy.net is None or energy.gross is None:
        return [*rows, ("net", "not known: the setting credit_value says what a credit is worth to you")]
    made = f"{units.credits(energy.earned)} at {energy.credit_value:g} {energy.currency} each, less the energy"
    net = f"{units.money(energy.net, energy.currency)}  {made}"
    rows.append(("net", Text(net, style=BAD if energy.net < 0 else GOOD)))
    return [*rows, *([("warning", Text(energy.warning, style=BAD))] if energy.warning else [])]


def _jobs(earned: EarnedView, now: float) -> Table:
    """``receipts`` are those whose vouchers are not claimed yet. It fits into 80 columns."""
    table = tables.columns("run", "for", "work", ">pending", ">final", ">receipts", "until")
    table.columns[2].no_wrap, table.columns[2].max_width = False, 11
    for job in earned.jobs[:MAX_JOBS]:
        table.add_row(
            Text(units.short_id(job.run), style=ACCENT),
            units.short_id(job.payer),
            job.stage or units.DASH,
            format_credits(job.pending),
            format_credits(job.final),
            str(job.receipts),
            units.moment_in(job.expires, now) if job.state != "settled" else job.state,
        )
    return table


def _days(earned: EarnedView) -> Table:
    table = tables.columns("day", ">earned", "entries")
    for day in earned.days[:MAX_DAYS]:
        ids = " ".join(units.short_id(entry) for entry in day.entries[:6])
        table.add_row(day.day, format_credits(day.final), Text(ids, style=DIM))
    return table
