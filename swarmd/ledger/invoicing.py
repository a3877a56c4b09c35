"""What a run cost: its work lines against its lanes' vouchers and what the ledger settled. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

from swarmd.ledger.jobsdb import LaneRecord, WorkLine
from swarmd.protocols.control_credits import InvoiceLine, InvoiceView
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.work import amount_of

MAX_LINES = 2000
"""Of one answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneAccount:
    """A lane of the run with everything that was done for it."""

    lane: LaneRecord
    lines: tuple[WorkLine, ...]
    receipts: Mapping[int, int]
    """How many are kept, by voucher."""
    paid: int | None
    """What its settlement paid; None while it is open."""


def invoice_view(
    run: str, payer: str, role: str, accounts: Sequence[LaneAccount], *, detail: bool = False, after: int = 0
) -> InvoiceView:
    """The invoice of a run: a line for each stage, lane and term; in detail one for each line of each voucher."""
    problems = tuple(problem for account in accounts for problem in _problems(account))
    lines = [line for account in accounts for line in _lines(account, detail)]
    ended = [(account.lane.cap, account.paid) for account in accounts if account.paid is not None]
    return InvoiceView(
        enabled=True,
        run=run,
        payer=payer,
        role=role,
        lines=tuple(lines[after : after + MAX_LINES]),
        more=len(lines) > after + MAX_LINES,
        invoiced=sum(account.lane.total for account in accounts),
        receipted=sum(map(_receipted, accounts)),
        paid=sum(paid for _, paid in ended),
        locked=sum(account.lane.cap for account in accounts if account.paid is None),
        refunded=sum(cap - paid for cap, paid in ended),
        balanced=not problems,
        problems=problems,
    )


def free_of_charge(run: str, payer: str) -> InvoiceView:
    """The invoice of a run on a network without credits."""
    return replace(invoice_view(run, payer, "payer", ()), enabled=False)


def _lines(account: LaneAccount, detail: bool) -> list[InvoiceLine]:
    ordered = sorted(account.lines, key=lambda line: (line.stage, line.term, line.voucher))
    if detail:
        return [_line(account, (line,)) for line in ordered]
    grouped = groupby(ordered, key=lambda line: (line.stage, line.term, line.first_layer, line.last_layer))
    return [_line(account, tuple(lines)) for _, lines in grouped]


def _line(account: LaneAccount, lines: tuple[WorkLine, ...]) -> InvoiceLine:
    """Lines of one stage and term as one."""
    newest = lines[-1]
    return InvoiceLine(
        stage=newest.stage,
        provider=newest.provider,
        lane=account.lane.lane,
        first_layer=newest.first_layer,
        last_layer=newest.last_layer,
        term=newest.term,
        first_step=min(line.first_step for line in lines),
        end_step=max(line.end_step for line in lines),
        forwards=sum(line.forwards for line in lines),
        backwards=sum(line.backwards for line in lines),
        operations=sum(line.operations for line in lines),
        price=account.lane.price,
        amount=sum(line.amount for line in lines),
        voucher=newest.voucher,
        work_root=newest.work_root.hex(),
        receipts=sum(account.receipts.get(number, 0) for number in {line.voucher for line in lines}),
    )


def _receipted(account: LaneAccount) -> int:
    """A lane's price is applied to all of its operations at once, so that nothing is lost by rounding often."""
    return amount_of(sum(line.operations for line in account.lines), account.lane.price)


def _problems(account: LaneAccount) -> list[str]:
    lane, lines = account.lane, sum(line.amount for line in account.lines)
    found: list[str] = []
    if lines != lane.total:
        found.append(
            f"its newest voucher says {format_credits(lane.total)}, its lines add up to {format_credits(lines)}"
        )
    if _receipted(account) != lines:
        found.append(
            f"its operations make {format_credits(_receipted(account))}, its lines say {format_credits(lines)}"
        )
    if account.paid is not None and account.paid != lane.total:
        found.append(f"{format_credits(account.paid)} was paid on a voucher of {format_credits(lane.total)}")
    return [f"lane {lane.lane}: {words}" for words in found]
