"""How much to set aside for each provider of a run, within its budget."""

from __future__ import annotations

from collections.abc import Sequence

from swarmd.protocols.errors import Refused
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.work import amount_of

SPARE_SHARE = 10
"""A lane holds one part in so many more than its stage is expected to earn."""


def expected(operations: int, price: int) -> int:
    """Micro-credits for a stage's operations until the last step; at least one, for a lane cannot be empty."""
    return max(1, amount_of(operations, price))


def lane_caps(amounts: Sequence[int], left: int) -> tuple[int, ...]:
    """Caps for stages expected to earn these amounts, with ``left`` of the budget; their sum is never over it.

    Raises Refused when the amounts alone are over it: such a run would stop in the middle.
    """
    total = sum(amounts)
    if total > left:
        raise Refused(
            f"this plan would cost {format_credits(total)} credits and {format_credits(left)} are left of the budget",
            hint="raise [budget] max_credits",
        )
    spare = min(left - total, total // SPARE_SHARE)
    return tuple(amount + spare * amount // total for amount in amounts)
