"""What the demo's run cost, by the vouchers, the receipts, the ledger and every node: all must agree."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from swarmd.cli.client import call
from swarmd.cli.demo.founding import SUPPLY
from swarmd.paths import Paths
from swarmd.protocols.control_credits import InvoiceView, LedgerView, invoice_view, ledger_view
from swarmd.protocols.ledger.amounts import MICRO, format_credits

SETTLE_SECONDS = 60.0
_LOOK_EVERY = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Credits:
    """Amounts in micro-credits."""

    genesis: str
    """The network's id."""
    supply: int
    """All credits there are, summed over the ledger."""
    invoiced: int
    """By the newest vouchers."""
    receipted: int
    """Computed anew from the operations and the prices behind the receipts."""
    paid: int
    """Moved on the ledger."""
    heads_equal: bool
    """Every node knows the same of every account."""

    @property
    def balanced(self) -> bool:
        """Whether the books say one thing, and no credit was made or lost."""
        return self.invoiced == self.receipted == self.paid and self.supply == SUPPLY * MICRO and self.heads_equal


def settled_credits(nodes: Sequence[Paths], run: str, *, within: float = SETTLE_SECONDS) -> Credits:
    """The books once all lanes of the run are settled and claimed, or as they are when time is over."""
    deadline = time.monotonic() + within
    while True:
        invoice = invoice_view(call(nodes[0], "invoice", run=run))
        ledgers = [ledger_view(call(paths, "ledger")) for paths in nodes]
        claimed = not any(call(paths, "wallet")["pending_in"] for paths in nodes)
        found = _credits(invoice, ledgers)
        if (found.balanced and claimed and not invoice.locked) or time.monotonic() > deadline:
            return found
        time.sleep(_LOOK_EVERY)


def words(found: Credits) -> str:
    """One line for the score card."""
    if found.balanced:
        amount = format_credits(found.paid)
        return f"{amount} paid for the work; the invoice, its receipts and every node's ledger say the same"
    parts = (
        f"{format_credits(found.invoiced)} invoiced",
        f"{format_credits(found.receipted)} receipted",
        f"{format_credits(found.paid)} paid",
        f"supply {format_credits(found.supply)} of {SUPPLY:,}",
        "every node agrees" if found.heads_equal else "the nodes do not agree",
    )
    return f"the books do NOT balance: {', '.join(parts)}"


def _credits(invoice: InvoiceView, ledgers: Sequence[LedgerView]) -> Credits:
    first = ledgers[0]
    return Credits(
        genesis=first.network,
        supply=first.supply.total if first.supply else 0,
        invoiced=invoice.invoiced,
        receipted=invoice.receipted,
        paid=invoice.paid,
        heads_equal=bool(first.root) and len({ledger.root for ledger in ledgers}) == 1,
    )
