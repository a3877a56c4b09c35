"""Stake: bonded at once, back after the cooldown by the members' own clocks."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.change import change_committee
from swarmd.protocols.ledger.entry import Stake, Unstake
from swarmd.protocols.ledger.genesis import Limits, Member
from tests.ledger.nodes import CALM, CREDIT, genesis_of, ledger_swarm

pytestmark = pytest.mark.slow

DAY = 14_400


async def test_stake_comes_back_by_itself_after_the_cooldown(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    limits = Limits(entry_seconds=0, cooldown_seconds=2 * DAY)
    async with ledger_swarm(tmp_path, genesis_of(4, limits=limits), settings=CALM) as swarm:
        one, *_ = await swarm.add_all(4)
        await one.wallet.write((Stake(100 * CREDIT),))
        await one.wallet.write((Unstake(40 * CREDIT),))
        standing = one.wallet.standing()
        assert (standing.balance, standing.bonded, standing.unbonding) == (900 * CREDIT, 60 * CREDIT, 40 * CREDIT)
        await trio.sleep(2 * DAY - 600)
        assert one.wallet.standing().unbonding == 40 * CREDIT
        await one.until(lambda: one.balance == 940 * CREDIT, 1200)
        await swarm.settled()
        assert all(not node.wallet.keeper.first_seen for node in swarm.nodes.values())


async def test_who_becomes_a_member_knows_since_when_stake_is_on_its_way_back(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    limits = Limits(entry_seconds=0, cooldown_seconds=2 * DAY)
    async with ledger_swarm(tmp_path, genesis_of(1, limits=limits, operator=1), settings=CALM) as swarm:
        one, _, _ = await swarm.add_all(3)
        await one.wallet.write((Stake(100 * CREDIT),))
        await one.wallet.write((Unstake(100 * CREDIT),))
        await swarm.settled()
        await trio.sleep(DAY)
        await change_committee(one.deps, one.wallet, (Member(swarm[2].peer, 1),))
        await one.until(lambda: one.balance == 1000 * CREDIT, DAY + 1200)


async def test_members_remember_over_restarts_since_when_they_know_of_an_unstaking(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    limits = Limits(entry_seconds=0, cooldown_seconds=2 * DAY)
    async with ledger_swarm(tmp_path, genesis_of(1, limits=limits), settings=CALM) as swarm:
        member = await swarm.add(1)
        await member.wallet.write((Stake(100 * CREDIT),))
        await member.wallet.write((Unstake(100 * CREDIT),))
        await trio.sleep(DAY)
        await member.stop()
        member = await swarm.add(1)
        assert member.wallet.standing().unbonding == 100 * CREDIT
        await member.until(lambda: member.balance == 1000 * CREDIT, DAY + 600)
