"""The ledger in words: what ``ledger status`` and ``ledger members`` print."""

from __future__ import annotations

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmd.cli import tables, units
from swarmd.cli.palette import BAD, DIM, GOOD, STRONG, WARN
from swarmd.cli.wallet_report import Rows, no_credits
from swarmd.protocols.control_credits import LedgerView, MemberView, SupplyView


def status(view: LedgerView) -> RenderableType:
    """The committee and where all credits are."""
    if not view.enabled:
        return Text(no_credits(view.network_name))
    rows: Rows = [
        ("network", f"{view.network_name} {view.network}"),
        ("committee", f"number {view.committee}, {units.counted(len(view.members), 'member')}"),
        ("answering", _answering(view)),
        ("accounts", str(view.accounts)),
        ("heads", f"{view.root}  nodes that show the same know the same"),
        ("proofs", _proofs(view)),
    ]
    supply: list[RenderableType] = [Text(), _supply(view.supply)] if view.supply else []
    return Group(tables.grid(rows), *supply)


def members(view: LedgerView) -> RenderableType:
    """One row for each member."""
    if not view.enabled:
        return Text(no_credits(view.network_name))
    table = tables.columns("", "member", ">weight", "now")
    for member in view.members:
        tick = Text("●", style=GOOD) if member.answers else Text("○", style=DIM)
        name = units.short_id(member.peer) + (" (this node)" if member.us else "")
        table.add_row(tick, name, str(member.weight), _now(member))
    return Group(table, Text(f"weight {view.answering} of {view.weight} answers; {view.quorum} make an entry final"))


def _answering(view: LedgerView) -> Text:
    text = f"weight {view.answering} of {view.weight}; {view.quorum} make an entry final"
    if view.answering >= view.quorum:
        return Text(text)
    return Text(f"{text}: too few, so nothing becomes final now", style=WARN)


def _proofs(view: LedgerView) -> Text:
    if not view.proofs:
        return Text("nobody has been proven to cheat")
    return Text(f"frozen: {', '.join(map(units.short_id, view.proofs))}", style=BAD)


def _now(member: MemberView) -> Text:
    if member.frozen:
        return Text("frozen: it was proven to cheat", style=BAD)
    if not member.answers:
        return Text("does not answer", style=WARN)
    return Text("answers" if member.in_step else "answers, and knows something else than this node", style="")


def _supply(supply: SupplyView) -> Table:
    parts = (
        ("balances", supply.balances, ""),
        ("set aside", supply.locked, "in lanes for runs"),
        ("staked", supply.bonded, ""),
        ("coming back", supply.unbonding, "unstaked, in the cooldown"),
        ("burned", supply.burned, "stake of frozen accounts"),
        ("in flight", supply.in_flight, "sent and not claimed; below zero: claimed of open lanes"),
    )
    table = tables.columns("credits", ">amount", "")
    for name, amount, words in parts:
        table.add_row(name, units.credits(amount), Text(words, style=DIM))
    fits = "as the genesis granted" if supply.total == supply.granted else "NOT what the genesis granted"
    table.add_row("total", Text(units.credits(supply.total), style=STRONG), fits)
    return table
