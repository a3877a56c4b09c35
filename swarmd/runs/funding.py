"""Before a run that pays begins: whom it can afford, what its stages will cost, and the lanes they are paid from."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.wallet import LaneAsk
from swarmd.protocols.advert import Advert
from swarmd.protocols.budget import Budget
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.pay_messages import UNPAID_WINDOWS, Terms
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import Plan
from swarmd.protocols.work import backward_operations, forward_operations
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import RunRecord, Spending
from swarmd.runs.spending import spending_of
from swarmd.scheduler.funding import expected, lane_caps
from swarmd.scheduler.paying import Part

HOUR = 3600


def too_dear(peer: PeerId, advert: Advert | None, budget: Budget, deps: RunDeps) -> str:
    """Why a peer is not asked for a stage of a run with this budget; empty if it is. Our own node asks nothing."""
    price = advert.price if advert and peer != deps.identity.peer else 0
    if price == 0:
        return ""
    asks = f"asks {price:,} micro-credits per 10^12 operations"
    if budget.max_credits == 0:
        return f"{asks}, and the job has no budget ([budget] max_credits)"
    if not deps.wallet.enabled:
        return f"{asks}, and this network has no credits"
    if not budget.allows(price):
        return f"{asks}, and the job pays at most {budget.max_price:,} ([budget] max_price)"
    return ""


@dataclass(frozen=True, slots=True)
class Funding:
    """One term's stages with their lanes, and when those expire (Unix seconds)."""

    parts: tuple[Part, ...]
    expires: int
    pay_every: int

    @property
    def paid(self) -> tuple[PeerId, ...]:
        """The providers, in stage order."""
        return tuple(part.peer for part in self.parts if part.price)

    def terms(self, stage: int) -> Terms:
        """What its member is told."""
        part = self.parts[stage]
        return Terms(
            price=part.price,
            pay_every=self.pay_every,
            lane=part.lane,
            cap=part.cap,
            expires=self.expires if part.lane else 0,
            max_unpaid_steps=UNPAID_WINDOWS * self.pay_every,
        )


def priced(plan: Plan, spec: JobSpec, prices: dict[PeerId, int]) -> tuple[Part, ...]:
    """The plan's stages with what they ask; lanes come later."""
    return tuple(
        Part(
            peer=stage.peer,
            forward=forward_operations(spec, stage.first, stage.end),
            backward=backward_operations(spec, stage.first, stage.end),
            price=prices.get(stage.peer, 0),
        )
        for stage in plan.stages
    )


async def budgeted(record: RunRecord, deps: RunDeps, parts: tuple[Part, ...]) -> tuple[Part, ...]:
    """The paid parts with their caps; free ones as they are. Raises Refused when the budget is too small."""
    before = await spending_of(record, deps.jobs)
    spent = before.spent if before else 0
    counts = record.spec.batch.micro_batches * (record.spec.schedule.steps - record.start_step)
    amounts = [expected(part.operations(counts, counts), part.price) for part in parts if part.price]
    left = record.budget.max_credits - spent
    caps = iter(lane_caps(amounts, left))
    locked = before.locked if before else 0
    record.spending = Spending(estimate=spent + sum(amounts), spent=spent, locked=locked, left=max(0, left))
    return tuple(replace(part, cap=next(caps)) if part.price else part for part in parts)


async def fund(record: RunRecord, deps: RunDeps, parts: tuple[Part, ...]) -> Funding:
    """Open a lane for each paid part; returns once the committee has certified them.

    Raises UsageError for a balance that is too small, Refused or StateError as ``Wallet.open_lanes`` does.
    """
    expires = int(time.time()) + record.budget.lane_hours * HOUR
    asks = tuple(LaneAsk(part.peer, part.cap) for part in parts if part.price)
    note = f"run {short(record.run)} ({record.name}), term {record.term}"
    lanes = iter(await deps.wallet.open_lanes(record.run, asks, expires, note))
    funded = tuple(replace(part, lane=next(lanes)) if part.price else part for part in parts)
    for number, part in enumerate(funded):
        if part.price:
            await deps.jobs.save_lane(_lane(record, deps, number, part, expires))
    record.spending = await spending_of(record, deps.jobs)
    return Funding(funded, expires, record.budget.pay_every)


def _lane(record: RunRecord, deps: RunDeps, number: int, part: Part, expires: int) -> LaneRecord:
    assert record.plan is not None
    here, now = record.plan.stages[number], time.time()
    return LaneRecord(
        payer=deps.identity.peer, lane=part.lane, run=record.run, provider=part.peer, role="payer", price=part.price,
        cap=part.cap, expires=expires, stage=f"stage {number}, layers {here.first}-{here.end - 1}",
        created=now, updated=now,
    )  # fmt: skip
