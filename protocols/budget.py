"""What a submitter will pay for a run. No part of the spec: it does not change the result."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from swarmd.protocols.ledger.amounts import MAX_AMOUNT, MICRO

MAX_PAY_EVERY = 1000
MAX_LANE_HOURS = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """Limits on what a run may cost."""

    max_credits: int = 0
    """Micro-credits for the whole run; 0: only peers that ask nothing."""
    max_price: int | None = None
    """Micro-credits per 10^12 operations; None: any, as long as the whole fits into ``max_credits``."""
    pay_every: int = 8
    """Steps between two vouchers."""
    lane_hours: int = 48
    """How long a provider has to claim before the payer may take the rest back."""

    def __post_init__(self) -> None:
        if not 0 <= self.max_credits <= MAX_AMOUNT or not 0 <= (self.max_price or 0) <= MAX_AMOUNT:
            raise ValueError("a budget of an impossible amount")
        if not 1 <= self.pay_every <= MAX_PAY_EVERY or not 1 <= self.lane_hours <= MAX_LANE_HOURS:
            raise ValueError(f"vouchers come every 1 to {MAX_PAY_EVERY} steps; lanes last 1 to {MAX_LANE_HOURS} hours")

    def allows(self, price: int) -> bool:
        """Whether a peer that asks this price may take part."""
        if price == 0:
            return True
        return self.max_credits > 0 and (self.max_price is None or price <= self.max_price)


def micro_credits(credits: float) -> int:
    """A number of a job file, in credits, as micro-credits; digits beyond the sixth are cut."""
    return int(Decimal(repr(credits)) * MICRO)
