"""Payments: certified by a committee, claimed by themselves, final."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.views import unsigned_words, wallet_view
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import short
from swarmd.protocols.ledger.entry import Pay
from tests.ledger.nodes import CREDIT, genesis_of, ledger_swarm

pytestmark = pytest.mark.slow


async def test_a_payment_is_certified_and_claimed(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, *_ = await swarm.add_all(4)
        signed = await one.wallet.write((Pay(two.peer, 10 * CREDIT),), note="for the cake")
        assert signed.entry.seq == 1
        await two.until(lambda: two.balance == 10 * CREDIT)
        await swarm.settled()
        assert one.balance == 990 * CREDIT
        assert all(node.wallet.replica.supply().total == 1000 * CREDIT for node in swarm.nodes.values())
        assert (await one.wallet.explain("1")).note == "for the cake"


async def test_a_payment_beyond_the_balance_is_not_signed(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        one, two = await swarm.add_all(2)
        with pytest.raises(UsageError, match="too small"):
            await one.wallet.write((Pay(two.peer, 1001 * CREDIT),))
        assert await one.wallet.history() == ()


async def test_a_signed_payment_is_shown_after_a_restart_while_the_committee_is_away(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, four = await swarm.add_all(4)
        await swarm.settled()
        await one.until(lambda: not one.wallet.standing().obstacle)
        for member in (two, three, four):
            await member.stop()
        signed = await one.wallet.write((Pay(two.peer, 10 * CREDIT),), wait=False)
        with trio.move_on_after(5):
            await one.wallet.write((Pay(two.peer, 5 * CREDIT),), wait=False)  # waits for the one before
        state = one.wallet.replica.state(one.peer)
        [dropped] = unsigned_words(one.wallet.standing(), state)
        assert dropped == f"5 credits to {short(two.peer)}"
        await one.stop()
        one = await swarm.add(1)
        for _ in range(2):  # at once, and when it is known that too few members answer
            pending = one.wallet.standing().pending
            assert pending is not None
            assert pending.id == signed.id
            shown = wallet_view(one.peer, one.wallet.replica, one.wallet.standing(), {}, 0)
            assert (shown.balance, shown.balance_after) == (1000 * CREDIT, 990 * CREDIT)
            await one.until(lambda: one.wallet.standing().obstacle)
        assert "once enough committee members answer" in pending.words
        for number in (2, 3, 4):
            await swarm.add(number)
        await swarm.settled()
        assert one.balance == 990 * CREDIT
        assert swarm[2].balance == 10 * CREDIT
