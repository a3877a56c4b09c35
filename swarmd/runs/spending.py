"""What a run costs its submitter so far, by the vouchers on our disk."""

from __future__ import annotations

from swarmd.ledger.jobsdb import JobStore
from swarmd.runs.record import RunRecord, Spending


async def spending_of(record: RunRecord, jobs: JobStore) -> Spending | None:
    """Summed over all terms; None for a run that pays nobody."""
    if not record.budget.max_credits:
        return None
    lanes = await jobs.lanes(run=record.run, role="payer")
    spent = sum(lane.total for lane in lanes)
    return Spending(
        estimate=record.spending.estimate if record.spending else spent,
        spent=spent,
        locked=sum(lane.cap for lane in lanes if lane.state != "settled"),
        left=max(0, record.budget.max_credits - spent),
    )
