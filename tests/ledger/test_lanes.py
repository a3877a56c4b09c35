"""Lanes: opened, paid from by vouchers, settled by a release, claimed before they expire, closed after."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.jobsdb import LaneRecord
from swarmd.ledger.wallet import LaneAsk
from swarmd.protocols.errors import Refused, UsageError
from swarmd.protocols.ledger.entry import Pay
from swarmd.protocols.ledger.genesis import Limits
from swarmd.protocols.ledger.messages import AskCloseVote
from swarmd.protocols.ledger.votes import CloseVote
from tests.ledger.nodes import CALM, CREDIT, EPOCH, RUN, LedgerNode, genesis_of, ledger_swarm

pytestmark = pytest.mark.slow

LIMITS = Limits(entry_seconds=0, grace_seconds=3600)
EXPIRES = int(EPOCH) + 7200


async def provider_has(provider: LedgerNode, payer: LedgerNode, lane: int, total: int) -> bytes:
    """The provider holds a voucher for this much; returns it."""
    voucher = payer.voucher(provider.peer, lane, total)
    now = EPOCH + trio.current_time()
    record = LaneRecord(
        payer=payer.peer,
        lane=lane,
        run=RUN,
        provider=provider.peer,
        role="provider",
        price=1,
        cap=100 * CREDIT,
        expires=EXPIRES,
        stage="stage 1",
        created=now,
        updated=now,
    )
    await provider.deps.job_store.save_lane(record)
    await provider.deps.job_store.keep_voucher(payer.peer, lane, voucher, total, 1, (), ())
    return voucher


async def test_a_lane_is_opened_and_settled_by_the_providers_release(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, three, _ = await swarm.add_all(4)
        asks = (LaneAsk(two.peer, 100 * CREDIT), LaneAsk(three.peer, 50 * CREDIT))
        assert await payer.wallet.open_lanes(RUN, asks, EXPIRES) == (1, 2)
        assert payer.wallet.standing().locked == 150 * CREDIT
        lane = await two.wallet.lane_standing(payer.peer, 1)
        assert lane is not None
        assert lane.provider == two.peer
        assert lane.cap == 100 * CREDIT
        voucher = await provider_has(two, payer, 1, 30 * CREDIT)
        paid = await payer.wallet.settle_lane(1, voucher, two.release(payer.peer, 1, 30 * CREDIT))
        assert paid == 30 * CREDIT
        await two.until(lambda: two.balance == 30 * CREDIT)
        assert await payer.wallet.settle_lane(2, b"", three.release(payer.peer, 2, 0)) == 0
        await swarm.settled()
        assert payer.balance == 970 * CREDIT
        assert payer.wallet.standing().locked == 0
        record = await two.deps.job_store.lane(payer.peer, 1)
        assert record is not None
        assert record.state == "settled"


async def test_a_release_of_another_total_than_the_voucher_settles_nothing(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1, limits=LIMITS), settings=CALM) as swarm:
        payer, two = await swarm.add_all(2)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        voucher = payer.voucher(two.peer, 1, 30 * CREDIT)
        with pytest.raises(UsageError, match="not the provider's release"):
            await payer.wallet.settle_lane(1, voucher, two.release(payer.peer, 1, 20 * CREDIT))


async def test_an_open_lane_is_claimed_and_settled_later_without_being_paid_twice(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, *_ = await swarm.add_all(4)
        asks = (LaneAsk(two.peer, 100 * CREDIT), LaneAsk(two.peer, 100 * CREDIT))
        await payer.wallet.open_lanes(RUN, asks, EXPIRES)
        first = await provider_has(two, payer, 1, 20 * CREDIT)
        await two.wallet.claim_lane(payer.peer, 1, first)
        assert two.balance == 20 * CREDIT
        second = await provider_has(two, payer, 2, 5 * CREDIT)
        await two.wallet.claim_lane(payer.peer, 2, second)
        assert two.balance == 25 * CREDIT
        more = payer.voucher(two.peer, 1, 30 * CREDIT, 2)
        await payer.wallet.settle_lane(1, more, two.release(payer.peer, 1, 30 * CREDIT))
        await two.until(lambda: two.balance == 35 * CREDIT)
        await payer.wallet.settle_lane(2, second, two.release(payer.peer, 2, 5 * CREDIT))
        await swarm.settled()
        assert (payer.balance, two.balance) == (965 * CREDIT, 35 * CREDIT)


async def test_a_provider_claims_by_itself_before_the_lane_expires_though_the_payer_is_gone(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, *_ = await swarm.add_all(4)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        await swarm.settled()
        await provider_has(two, payer, 1, 40 * CREDIT)
        await payer.stop()
        await two.until(lambda: two.balance == 40 * CREDIT, 7200)
        assert trio.current_time() < 7200


async def test_a_claim_that_comes_after_half_the_grace_is_refused_with_the_reason(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, *_ = await swarm.add_all(4)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        await swarm.settled()
        await trio.sleep(7200 + 1900)
        with pytest.raises(Refused, match="expired"):
            await two.wallet.claim_lane(payer.peer, 1, payer.voucher(two.peer, 1, CREDIT))


async def test_an_expired_lane_is_closed_by_its_payer_and_what_was_claimed_stays_paid(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, *_ = await swarm.add_all(4)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        await two.wallet.claim_lane(payer.peer, 1, await provider_has(two, payer, 1, 15 * CREDIT))
        await payer.until(lambda: payer.wallet.standing().locked == 0, 7200 + 3600 + 300)
        await swarm.settled()
        assert (payer.balance, two.balance) == (985 * CREDIT, 15 * CREDIT)


async def test_a_lane_being_settled_goes_on_after_a_restart(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, three, four = await swarm.add_all(4)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        await swarm.settled()
        await three.stop()
        await four.stop()
        voucher = payer.voucher(two.peer, 1, 9 * CREDIT)
        with trio.move_on_after(30):
            await payer.wallet.settle_lane(1, voucher, two.release(payer.peer, 1, 9 * CREDIT))
        await payer.stop()
        payer = await swarm.add(1)
        await swarm.add(3)
        await two.until(lambda: two.balance == 9 * CREDIT)


async def test_half_of_what_lanes_earn_is_staked_until_the_target_is_bonded(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1, limits=LIMITS), settings=CALM) as swarm:
        payer = await swarm.add(1)
        two = await swarm.add(2, target_stake=12 * CREDIT)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),) * 2, EXPIRES)
        voucher = await provider_has(two, payer, 1, 20 * CREDIT)
        await payer.wallet.settle_lane(1, voucher, two.release(payer.peer, 1, 20 * CREDIT))
        await two.until(lambda: two.wallet.standing().bonded == 10 * CREDIT)
        await two.wallet.claim_lane(payer.peer, 2, await provider_has(two, payer, 2, 30 * CREDIT))
        standing = two.wallet.standing()
        assert (standing.balance, standing.bonded) == (38 * CREDIT, 12 * CREDIT)


async def test_a_payer_that_takes_the_release_and_never_settles_keeps_nothing_back(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, *_ = await swarm.add_all(4)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        voucher = await provider_has(two, payer, 1, 30 * CREDIT)
        asked = AskCloseVote(payer.peer, 1, two.release(payer.peer, 1, 30 * CREDIT), voucher)
        await payer.wallet.parts.collector.certify(lambda: asked, lambda vote: isinstance(vote, CloseVote))
        await payer.stop()
        with pytest.raises(Refused, match="closed"):
            await two.wallet.claim_lane(payer.peer, 1, payer.voucher(two.peer, 1, 31 * CREDIT, 2))
        await two.until(lambda: two.balance == 30 * CREDIT, 7200)


async def test_a_certified_claim_still_counts_after_a_restart_when_its_lane_has_expired(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4, limits=LIMITS), settings=CALM) as swarm:
        payer, two, *_ = await swarm.add_all(4)
        await payer.wallet.open_lanes(RUN, (LaneAsk(two.peer, 100 * CREDIT),), EXPIRES)
        voucher = await provider_has(two, payer, 1, 30 * CREDIT)
        await two.wallet.claim_lane(payer.peer, 1, voucher)
        await trio.sleep(7200 + 1900)
        await two.stop()
        two = await swarm.add(2)
        await payer.wallet.write((Pay(two.peer, 5 * CREDIT),))
        await two.until(lambda: two.balance == 35 * CREDIT)
