"""Clocks that are a year off: nobody loses credits, closes a lane early, or is taken for a liar."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.wallet import LaneAsk
from tests.ledger.nodes import CALM, CREDIT, EPOCH, RUN, LedgerSwarm, genesis_of, ledger_swarm
from tests.ledger.test_lanes import EXPIRES, LIMITS, provider_has

pytestmark = pytest.mark.slow

YEAR = 365 * 86_400.0
OVER = EXPIRES + LIMITS.grace_seconds - EPOCH


def nobody_is_frozen(swarm: LedgerSwarm) -> bool:
    return not any(node.wallet.replica.proofs() for node in swarm.nodes.values())


async def test_a_payer_and_member_whose_clock_is_ahead_closes_no_lane_before_its_time(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer = await swarm.add(1, clock_error=YEAR)
        two, *_ = [await swarm.add(number) for number in (2, 3, 4)]
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        await trio.sleep(3600)  # it asks for its closing all the while
        assert payer.wallet.standing().locked == 100 * CREDIT
        await two.wallet.claim_lane(payer.peer, 1, await provider_has(two, payer, 1, 40 * CREDIT))
        assert two.balance == 40 * CREDIT
        await payer.until(lambda: payer.wallet.standing().locked == 0, OVER + 600)
        assert trio.current_time() >= OVER
        await swarm.settled()
        assert (payer.balance, two.balance) == (960 * CREDIT, 40 * CREDIT)
        assert nobody_is_frozen(swarm)


@pytest.mark.parametrize("error", [-YEAR, YEAR], ids=["behind", "ahead"])
async def test_a_provider_and_member_with_a_wrong_clock_is_paid_by_settlement_and_by_claim(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, error: float
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two = await swarm.add(1), await swarm.add(2, clock_error=error)
        for number in (3, 4):
            await swarm.add(number)
        asks = (LaneAsk(two.peer, 100 * CREDIT), LaneAsk(two.peer, 100 * CREDIT))
        await payer.wallet.open_lanes(RUN, asks, EXPIRES)
        released, claimed = [await provider_has(two, payer, lane, 30 * CREDIT) for lane in (1, 2)]
        await payer.wallet.settle_lane(1, released, two.release(payer.peer, 1, 30 * CREDIT))
        await two.wallet.claim_lane(payer.peer, 2, claimed)
        await two.until(lambda: two.balance == 60 * CREDIT)
        assert nobody_is_frozen(swarm)
