"""From one committee to the next, with payments under way."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.change import change_committee
from swarmd.ledger.wallet import LaneAsk
from swarmd.net.memory import Conditions
from swarmd.net.rpc import serve_rpc
from swarmd.protocols.errors import Refused, UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.entry import Pay
from swarmd.protocols.ledger.genesis import Member
from swarmd.protocols.ledger.handover import change_id, report_hash, sign_handover
from swarmd.protocols.ledger.messages import (
    LEDGER_PROTOCOL,
    AskHandover,
    GetReport,
    HandedOver,
    Hello,
    ReportPart,
    Summary,
)
from tests.ledger.nodes import CREDIT, EPOCH, RUN, genesis_of, identity, ledger_swarm

pytestmark = pytest.mark.slow


def members(*numbers: int) -> tuple[Member, ...]:
    return tuple(Member(identity(number).peer, 1) for number in numbers)


async def test_the_committee_changes_while_payments_go_on(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    grants = {1: 1000, 2: 1000, 8: 1000}
    async with ledger_swarm(tmp_path, genesis_of(4, grants=grants, operator=1)) as swarm:
        nodes = await swarm.add_all(8)
        payers = [swarm[1], swarm[2], swarm[8]]

        async def traffic() -> None:
            for _ in range(5):
                for payer in payers:
                    await payer.wallet.write((Pay(swarm[7].peer, CREDIT),), wait=False)
                await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(traffic)
            await trio.sleep(2)
            committee = await change_committee(swarm[1].deps, swarm[1].wallet, members(3, 4, 5, 6))
        assert committee.number == 1
        assert set(committee.peers) == {identity(n).peer for n in (3, 4, 5, 6)}
        await swarm.settled()
        assert swarm[7].balance == 15 * CREDIT
        assert all(node.wallet.replica.committee.number == 1 for node in nodes)
        assert not any(node.wallet.replica.proofs() for node in nodes)
        again = await change_committee(swarm[1].deps, swarm[1].wallet, members(1, 2, 5, 6))
        assert again.number == 2
        await swarm[8].wallet.write((Pay(swarm[7].peer, CREDIT),))
        await swarm.settled()


async def test_what_the_former_committee_voted_for_binds_the_next(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    """An entry that two members voted for, and a lane claim, come through a change of all members."""
    async with ledger_swarm(tmp_path, genesis_of(4, grants={7: 1000}, operator=7)) as swarm:
        await swarm.add_all(8)
        payer, provider = swarm[7], swarm[8]
        await payer.wallet.open_lanes(RUN, (LaneAsk(provider.peer, 50 * CREDIT),), int(EPOCH) + 90_000)
        await provider.wallet.claim_lane(payer.peer, 1, payer.voucher(provider.peer, 1, 20 * CREDIT))
        await swarm.settled()
        await swarm[3].stop()
        await swarm[4].stop()
        signed = await payer.wallet.write((Pay(provider.peer, CREDIT),), wait=False)
        await trio.sleep(5)
        with pytest.raises(Refused, match="of weight 2 of the committee that votes now answer, and 3 is needed"):
            await change_committee(payer.deps, payer.wallet, members(5, 6, 8))
        await swarm.add(3)
        await change_committee(payer.deps, payer.wallet, members(5, 6, 8))
        await swarm.add(4)
        await swarm.settled()
        head = payer.wallet.replica.head(payer.peer)
        assert head is not None
        assert head.signed.id == signed.id
        voucher = payer.voucher(provider.peer, 1, 20 * CREDIT)
        paid = await payer.wallet.settle_lane(1, voucher, provider.release(payer.peer, 1, 20 * CREDIT))
        assert paid == 20 * CREDIT
        await swarm.settled()
        assert (payer.balance, provider.balance) == (979 * CREDIT, 21 * CREDIT)


async def test_only_the_operator_changes_the_committee(tmp_path: Path, ledger_clock: trio.testing.MockClock) -> None:
    async with ledger_swarm(tmp_path, genesis_of(1)) as swarm:
        _, two = await swarm.add_all(2)
        with pytest.raises(UsageError, match="only the network's operator"):
            await change_committee(two.deps, two.wallet, members(2))


async def test_a_member_that_was_away_catches_up_with_the_committees(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    async with ledger_swarm(tmp_path, genesis_of(4)) as swarm:
        one, two, three, four = await swarm.add_all(4)
        await four.stop()
        await change_committee(one.deps, one.wallet, members(1, 2, 3, 5))
        await swarm.add(5)
        await swarm.settled()
        await change_committee(one.deps, one.wallet, members(1, 2, 4, 5))
        await three.stop()
        four = await swarm.add(4)
        await two.until(lambda: four.wallet.replica.committee.number == 2)
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await swarm.settled()
        assert two.balance == CREDIT


async def test_an_entry_is_certified_as_soon_as_the_member_it_waits_for_has_caught_up(
    tmp_path: Path, ledger_clock: trio.testing.MockClock
) -> None:
    """The author's pauses have grown to a minute; the member does not know of its committee when it comes."""
    async with ledger_swarm(tmp_path, genesis_of(4), conditions=Conditions(delay=0.2)) as swarm:
        one, two, three, four = await swarm.add_all(4)
        await four.stop()
        await change_committee(one.deps, one.wallet, members(1, 2, 3, 5))
        await one.wallet.write((Pay(two.peer, CREDIT),))
        await swarm.settled()
        await three.stop()
        await one.wallet.write((Pay(two.peer, CREDIT),), wait=False)
        await trio.sleep(250)
        assert one.wallet.standing().pending is not None
        await swarm.add(5)
        began = trio.current_time()
        await one.until(lambda: one.wallet.standing().pending is None)
        assert trio.current_time() - began < 10


@pytest.mark.parametrize("kept", ["nothing", "no report"])
async def test_a_member_that_hands_over_without_a_report_does_not_keep_the_others_from_being_replaced(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, kept: str
) -> None:
    """Whoever handed over votes no more: a change that cannot be ended would stop every payment."""
    garbage = b"no report"
    async with ledger_swarm(tmp_path, genesis_of(4, grants={5: 1000}, operator=5)) as swarm:
        who, network = identity(4), swarm.genesis.id

        async def summary(peer: PeerId, asked: Hello) -> Summary:
            return Summary(asked, bytes(256 * 32))

        async def hand_over(peer: PeerId, asked: AskHandover) -> HandedOver:
            name = change_id(asked.change, network)
            return HandedOver(sign_handover(name, report_hash(garbage), network, who.peer, who.sign), len(garbage))

        async def report(peer: PeerId, asked: GetReport) -> ReportPart:
            return ReportPart(garbage if kept == "no report" else b"")

        async with swarm.network.node(who.seed) as (transport, _):
            serve_rpc(transport, LEDGER_PROTOCOL, {Hello: summary, AskHandover: hand_over, GetReport: report})
            for number in (1, 2, 3, 5, 6):
                await swarm.add(number)
            await change_committee(swarm[5].deps, swarm[5].wallet, members(1, 2, 3, 6))
            with trio.fail_after(600):
                await swarm[5].wallet.write((Pay(swarm[6].peer, CREDIT),))
