"""What a run costs: its budget while it runs, its invoice, and the receipts behind every line."""

from __future__ import annotations

import os
from collections.abc import Iterator

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmd.cli import answers, tables, units
from swarmd.cli.output import console, emit, words
from swarmd.cli.palette import ACCENT, BAD
from swarmd.cli.session import Session
from swarmd.cli.wallet_report import Rows, mark, receipts_table, receipts_words
from swarmd.protocols.control import FINAL_STATES, RunView
from swarmd.protocols.control import as_json as object_of
from swarmd.protocols.control_credits import InvoiceLine, InvoiceView
from swarmd.protocols.control_entries import ReceiptsView
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ledger.amounts import format_credits

MAX_PAGES = 1000
_WIDE = 116
"""Columns that every part of a line fits into."""
DOES_NOT_HOLD = 1
"""The exit code when a signature or a sum does not hold."""


def of_run(session: Session, run: str) -> InvoiceView:
    """A run's invoice, a line for each stage, lane and term."""
    return answers.invoice(session.ask("invoice", run=run))


def invoice(view: InvoiceView, width: int) -> RenderableType:
    """Who did what, at what price, and whether it adds up, on a screen of ``width`` columns."""
    if not view.lines and not view.locked:
        free = "" if view.enabled else ": on a network without credits work is free"
        return Text(f"nobody was paid for this run{free}")
    totals: Rows = [
        ("invoiced", f"{units.credits(view.invoiced)}  by the newest vouchers"),
        ("receipted", f"{units.credits(view.receipted)}  by the operations in the lines above"),
        ("paid", f"{units.credits(view.paid)}  settled on the ledger"),
        *([("locked", f"{units.credits(view.locked)}  in lanes that are open")] if view.locked else []),
        ("refunded", units.credits(view.refunded)),
        ("balance", mark(view.balanced, "vouchers, lines and settlements agree", "it does NOT add up")),
        *(("", Text(problem, style=BAD)) for problem in view.problems),
    ]
    return Group(_lines(view.lines, wide=width >= _WIDE), Text(), tables.grid(totals))


def show(session: Session, run: str, *, as_json: bool, alone: bool = True) -> int:
    """``jobs show RUN --invoice``; the exit code. Not ``alone``: the receipts follow it."""
    result = session.ask("invoice", run=run)
    if as_json:
        emit(result)
        return 0
    view = answers.invoice(result)
    printer = console()
    printer.print(invoice(view, printer.width))
    if view.lines and alone:
        words(f"\n  swarmd jobs show {view.run[:8]} --receipts     check every signature behind it")
    return 0


def after_run(session: Session, run: RunView) -> int:
    """The invoice below a run that is over and was paid for, and prices elsewhere beside it; the exit code."""
    view = of_run(session, run.run) if run.state in FINAL_STATES else None
    if view is not None and view.lines:
        printer = console()
        printer.print(Group(Text(), invoice(view, printer.width), Text(), beside_others(session, run, view)))
    return 0


def show_receipts(session: Session, run: str, *, as_json: bool) -> int:
    """``jobs show RUN --receipts``: every voucher's receipts, checked; with ``--json`` one object for each voucher."""
    checked: list[ReceiptsView] = []
    for view in receipts_of_run(session, run):
        if as_json:
            emit(object_of(view))
        checked.append(view)
    if not as_json:
        _tell(checked)
    return 0 if all(view.holds for view in checked) else DOES_NOT_HOLD


def receipts_of_run(session: Session, run: str) -> Iterator[ReceiptsView]:
    """The receipts behind each voucher of a run, lane by lane."""
    seen: set[tuple[int, int]] = set()
    for page in _pages(session, run):
        for line in page.lines:
            if (line.lane, line.voucher) not in seen:
                seen.add((line.lane, line.voucher))
                yield receipts_of(session, page.payer, line.lane, line.voucher)


def receipts_of(session: Session, payer: str, lane: int, number: int) -> ReceiptsView:
    """The receipts behind one voucher; the daemon has checked each signature."""
    return answers.receipts(session.ask("receipts", payer=payer, lane=lane, number=number))


def beside_others(session: Session, run: RunView, invoiced: InvoiceView) -> RenderableType:
    """What a million tokens cost here, and by others' prices as far as the two compare."""
    from swarmd.cli.prices import Cost, comparison, load_prices, price_file
    from swarmd.cli.settings import effective

    rows, _ = effective(session.paths, os.environ)
    chosen = {row["name"]: row["value"] for row in rows}
    cost = Cost(
        invoiced.invoiced,
        round(run.tokens_per_s_mean * run.elapsed),
        float(chosen.get("credit_value", 0.0)),
        str(chosen.get("currency", "")),
    )
    return comparison(cost, load_prices(price_file(session.paths.state_dir)))


def _pages(session: Session, run: str) -> Iterator[InvoiceView]:
    after = 0
    for _ in range(MAX_PAGES):
        page = answers.invoice(session.ask("invoice", run=run, detail=True, after=after))
        yield page
        after += len(page.lines)
        if not page.more:
            return
    raise ProtocolViolation("an invoice without an end")


def _lines(lines: tuple[InvoiceLine, ...], *, wide: bool) -> Table:
    more = (">fwd", ">bwd", ">receipts", "work root") if wide else ()
    titles = (">stage", "provider", "layers", ">term", "steps", ">operations", ">price", ">amount", ">lane", ">voucher")
    table = tables.columns(*titles, *more)
    for line in lines:
        table.add_row(*_cells(line)[: len(table.columns)])
    return table


def _cells(line: InvoiceLine) -> list[str | Text]:
    return [
        str(line.stage),
        Text(units.short_id(line.provider), style=ACCENT),
        f"{line.first_layer}{units.DASH}{line.last_layer}",
        str(line.term),
        f"{line.first_step}{units.DASH}{line.end_step - 1}",
        units.scaled(line.operations),
        f"{line.price:,}",
        format_credits(line.amount),
        str(line.lane),
        str(line.voucher),
        f"{line.forwards:,}",
        f"{line.backwards:,}",
        str(line.receipts),
        line.work_root[:8],
    ]


def _tell(checked: list[ReceiptsView]) -> None:
    if not checked:
        return words("no receipts are kept of this run")
    console().print(receipts_table(checked))
    words(receipts_words(checked))
