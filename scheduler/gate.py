"""The provider's gate: how far a stage works ahead of the vouchers it holds."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.work import PRICED_OPERATIONS, amount_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Gate:
    """One paid stage of one term."""

    price: int
    operations: int
    """Of one step, forward and backward, all its micro-batches."""
    start: int
    """Steps committed before the term."""
    max_unpaid: int
    """Committed steps without a voucher that covers them."""
    patience: float = 5.0
    """Seconds that this may last: where steps take milliseconds, vouchers come after many."""

    def covered(self, total: int) -> int:
        """The last step whose work, with all before it, ``total`` micro-credits pay for."""
        return self.start + ((total + 1) * PRICED_OPERATIONS - 1) // (self.operations * self.price)

    def owed(self, step: int) -> int:
        """Micro-credits for all work up to this step."""
        return amount_of((step - self.start) * self.operations, self.price)

    def overdue(self, step: int, total: int) -> bool:
        """Whether vouchers for ``total`` leave too many steps to ``step`` unpaid."""
        return step - self.covered(total) > self.max_unpaid

    def refusal(self, step: int, total: int, waited: float) -> str:
        """Why to stop after committing ``step`` with vouchers for ``total``; empty while there is no reason.

        ``waited`` is for how many seconds too many steps have been unpaid.
        """
        if not self.overdue(step, total) or waited < self.patience:
            return ""
        return (
            f"not paid: its steps to {step} are worth {format_credits(self.owed(step))} credits, and its vouchers "
            f"cover {format_credits(total)}; this node works at most {self.max_unpaid} steps ahead"
        )
