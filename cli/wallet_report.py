"""The account in words: what ``wallet balance``, ``history`` and ``explain`` print."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmd.cli import tables, units
from swarmd.cli.palette import BAD, DIM, GOOD, STRONG, WARN
from swarmd.protocols.control_credits import FINAL, PendingView, UnbondingView, WalletView
from swarmd.protocols.control_entries import ExplainView, HistoryLine, OpView, ReceiptsView, StateView
from swarmd.protocols.ledger.amounts import format_credits

Rows = list[tuple[str, str | Text]]
_WHAT = 36
"""Columns for what an entry does: the others take 44 at most, for balances below a million."""


def no_credits(network: str) -> str:
    """What is said on a network without credits."""
    return f"the network {units.network(network)} has no credits: work on it is free, and there is nothing to pay with"


def balance(view: WalletView) -> RenderableType:
    """Everything about the account."""
    if not view.enabled:
        return Text(no_credits(view.network_name))
    return tables.grid(
        [
            ("balance", Text(units.credits(view.balance), style=STRONG)),
            *_some("coming in", view.pending_in, "paid to you, not claimed yet"),
            *_some("set aside", view.locked, "for runs; what they do not take comes back"),
            ("staked", _staked(view)),
            *(("coming back", _unbonding(item)) for item in view.unbonding),
            *_waiting(view),
            *_frozen(view),
            ("account", view.account),
            ("network", f"{view.network_name} {units.short_id(view.network)}"),
            ("entries", f"{view.seq} final" if view.seq else "none yet"),
        ]
    )


def history(lines: Sequence[HistoryLine]) -> Table:
    """One row for each operation, newest entry first; it fits into 80 columns."""
    table = tables.columns(">#", "when", "what", ">change", ">balance")
    table.columns[2].no_wrap, table.columns[2].max_width = False, _WHAT
    for line in lines:
        for at, op in enumerate(line.ops):
            first = at == 0
            head = (str(line.seq), units.moment_in(line.time, lines[0].time)) if first else ("", "")
            tail = (change(line.change), format_credits(line.balance)) if first else ("", "")
            table.add_row(*head, _what(line, op, first), *tail)
    return table


def _what(line: HistoryLine, op: OpView, first: bool) -> Text:
    """An operation in words; with its entry's first one what is particular about the entry."""
    state = f"{line.state}: " if first and line.state != FINAL else ""
    note = f"  ({line.note})" if first and line.note and line.note not in op.words else ""
    return Text.assemble((state, WARN), op.words, (note, DIM))


def change(amount: int | None) -> str:
    """A change of the balance with its sign; a dash where it is not known."""
    if amount is None:
        return units.DASH
    return format_credits(amount) if amount <= 0 else f"+{format_credits(amount)}"


def explain(view: ExplainView, receipts: Sequence[ReceiptsView]) -> RenderableType:
    """An entry from its signature to the receipts behind it."""
    line = view.line
    facts: Rows = [
        ("entry", Text(f"{line.seq}  {line.entry}", style=STRONG)),
        ("state", _state(line)),
        ("written", units.moment(line.time)),
        *([("note", line.note)] if line.note else []),
        *(("what" if not at else "", op.words) for at, op in enumerate(line.ops)),
        *_sums(view.before, view.after),
        ("signature", mark(view.signed, "the owner's", "NOT the owner's")),
        ("sums", mark(view.state_matches, "as the entry names them", "NOT those that the entry names")),
        ("votes", f"weight {view.weight}; {view.quorum} make it final (committee {view.committee})"),
    ]
    parts: list[RenderableType] = [tables.grid(facts), Text(), _votes(view)]
    if view.evidence:
        parts += [Text(), _evidence(view)]
    if receipts:
        parts += [Text(), Text(receipts_words(receipts)), *_not_holding(receipts)]
    return Group(*parts)


def receipts_words(views: Sequence[ReceiptsView]) -> str:
    """How many vouchers were checked, with how many signatures, and whether all hold."""
    bad = [view for view in views if not view.holds]
    signatures = sum(2 * len(view.receipts) for view in views)
    said = f"{units.counted(len(views), 'voucher')}, {units.counted(signatures, 'signature')} checked"
    return f"{said}: all hold" if not bad else f"{said}: {units.counted(len(bad), 'voucher')} do NOT hold"


def _not_holding(views: Sequence[ReceiptsView]) -> list[RenderableType]:
    bad = [view for view in views if not view.holds]
    return [receipts_table(bad)] if bad else []


def receipts_table(views: Sequence[ReceiptsView]) -> Table:
    """One row for each voucher: do its receipts hold?"""
    table = tables.columns("", ">lane", ">voucher", ">receipts", "signatures", "work root")
    for view in views:
        count = 2 * len(view.receipts)
        bad = sum(not receipt.holds for receipt in view.receipts)
        said = f"{count} checked, all hold" if not bad else f"of {units.counted(bad, 'receipt')} do NOT hold"
        root = view.work_root[:16] if view.root_matches else f"{view.work_root[:16]} does NOT fit"
        table.add_row(sign(view.holds), str(view.lane), str(view.number), str(len(view.receipts)), said, root)
    return table


def sign(good: bool) -> Text:
    """A tick or a cross."""
    return Text("✔", style=GOOD) if good else Text("✘", style=BAD)


def mark(good: bool, yes: str, no: str) -> Text:
    """A tick or a cross with its words."""
    return Text.assemble(sign(good), " ", yes if good else (no, BAD))


def pending_words(pending: PendingView) -> str:
    """Why an entry is not final yet."""
    votes = f"{pending.weight} of {pending.quorum} votes by weight"
    return f"entry {pending.seq} since {units.clock(pending.since)}, {votes}" + (
        f": {pending.why}" if pending.why else ""
    )


def _some(name: str, amount: int, words: str) -> Rows:
    return [(name, f"{units.credits(amount)}  {words}")] if amount else []


def _staked(view: WalletView) -> str:
    goal = view.target_stake
    return units.credits(view.bonded) + (
        f"  of {format_credits(goal)}: half of what you earn is staked until then" if goal > view.bonded else ""
    )


def _unbonding(item: UnbondingView) -> str:
    when = f"about {units.moment(item.due)}" if item.due is not None else "after the cooldown"
    return f"{units.credits(item.amount)}  {when} (entry {item.entry})"


def _waiting(view: WalletView) -> Rows:
    rows: Rows = []
    if view.pending is not None:
        rows.append(("pending", Text(pending_words(view.pending), style=WARN)))
        rows += [("", op.words) for op in view.pending.ops]
        rows += [("", _not_voting(units.short_id(member), why)) for member, why in view.pending.reasons.items() if why]
    if view.waiting:
        count = units.counted(view.waiting, "write")
        rows.append(("waiting", f"{count} not signed yet, lost if the daemon is stopped before"))
        rows += [("", op.words) for op in view.queued]
    if view.pending is not None or view.waiting:
        rows.append(("then", f"{units.credits(view.balance_after)}  the balance once all of this is final"))
    if view.obstacle and not view.frozen:
        rows.append(("signing", Text(f"waits: {view.obstacle}", style=WARN)))
    return rows


def _not_voting(member: str, why: str) -> str:
    return why if member in why else f"{member}: {why}"


def _frozen(view: WalletView) -> Rows:
    if not view.frozen:
        return []
    words = "frozen: the key of this account signed two things that contradict; nobody votes for it any more"
    burned: Rows = [("burned", Text(units.credits(view.burned), style=BAD))] if view.burned else []
    return [("state", Text(words, style=BAD)), *burned]


def _state(line: HistoryLine) -> Text:
    return Text(line.state, style=GOOD if line.state == FINAL else WARN)


def _sums(before: StateView | None, after: StateView) -> Rows:
    rows: Rows = []
    for name, label in (
        ("balance", "balance"),
        ("locked", "set aside"),
        ("bonded", "staked"),
        ("unbonding", "coming back"),
    ):
        now = getattr(after, name)
        was = None if before is None else getattr(before, name)
        if was != now or name == "balance":
            rows.append((label, f"{units.DASH if was is None else format_credits(was)} → {format_credits(now)}"))
    return rows


def _votes(view: ExplainView) -> Table:
    table = tables.columns("", "member", ">weight", "vote")
    for vote in view.votes:
        said = "signed, and it holds" if vote.holds else "its signature does NOT hold" if vote.voted else vote.reason
        tick = sign(vote.holds) if vote.voted else Text("○", style=DIM)
        table.add_row(tick, units.short_id(vote.member), str(vote.weight), said or "not yet")
    return table


def _evidence(view: ExplainView) -> Table:
    table = tables.columns("", "evidence", "what it says", "sha256")
    table.columns[2].no_wrap = False
    for each in view.evidence:
        table.add_row(sign(each.holds), each.kind, each.words, Text(each.sha256[:16], style=DIM))
    return table
