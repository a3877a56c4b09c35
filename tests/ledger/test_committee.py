"""A committee of four: one may be away, two may not, and whoever waits is told why."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.net.memory import Conditions
from swarmd.protocols.ledger.entry import Pay
from tests.ledger.nodes import CREDIT, genesis_of, ledger_swarm

pytestmark = pytest.mark.slow


async def test_one_of_four_may_be_away(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, _, four = await swarm.add_all(4)
        await four.stop()
        before = trio.current_time()
        await one.wallet.write((Pay(two.peer, CREDIT),))
        assert trio.current_time() - before < 15


async def test_with_two_of_four_away_a_payment_waits_says_why_and_settles_when_they_return(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, four = await swarm.add_all(4)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await swarm.settled()
        await three.stop()
        await four.stop()
        signed = await one.wallet.write((Pay(two.peer, CREDIT),), wait=False)
        await trio.sleep(60)
        standing = one.wallet.standing()
        assert standing.pending is not None
        assert standing.pending.id == signed.id
        assert standing.pending.words == "2 of 4 committee members answer; 3 are needed"
        assert set(standing.pending.reasons) == {three.peer, four.peer}
        assert standing.pending.weight == 2
        assert standing.pending.quorum == 3
        await swarm.add(3)
        await one.until(lambda: one.wallet.standing().pending is None, 10)
        await two.until(lambda: two.balance == 2 * CREDIT)


async def test_an_entry_in_flight_survives_a_restart_of_its_owner(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, four = await swarm.add_all(4)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await three.stop()
        await four.stop()
        signed = await one.wallet.write((Pay(two.peer, CREDIT),), wait=False)
        await one.stop()
        await swarm.add(3)
        one = await swarm.add(1)
        await one.until(lambda: one.wallet.standing().seq == 2)
        head = one.wallet.replica.head(one.peer)
        assert head is not None
        assert head.signed.id == signed.id


async def test_a_member_with_a_wrong_clock_does_not_hold_up_payments(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one = await swarm.add(1, clock_error=-1e7)
        two = await swarm.add(2, clock_error=3e7)
        await swarm.add(3)
        await swarm.add(4)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await two.until(lambda: two.balance == CREDIT)


async def test_everybody_hears_of_a_payment_though_gossip_is_lost_doubled_and_late(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    bad = Conditions(delay=0.05, jitter=1.0, loss=0.7, duplication=0.5)
    async with ledger_swarm(tmp_path, genesis_of(4), conditions=bad, seed=3) as swarm:
        one, two, *_ = await swarm.add_all(7)
        for _ in range(3):
            await one.wallet.write((Pay(two.peer, CREDIT),))
        await swarm.settled()
        assert two.balance == 3 * CREDIT
