"""Ten thousand operations over seven nodes, two of which lie, on a network that loses, doubles, reorders and splits.

The seven vote with equal weight, so five votes certify. Operations come about ten to a write, and writes that wait
share an entry: the ten thousand need some hundreds of entries, which is what signatures cost time for.
"""

from __future__ import annotations

import random
from functools import partial
from pathlib import Path

import pytest
import trio
import trio.testing

from swarmd.ledger.deps import LedgerSettings
from swarmd.ledger.topics import topic
from swarmd.net.memory import Conditions
from swarmd.net.rpc import call
from swarmd.protocols.errors import SwarmdError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, LaneOpen, Op, Pay, SignedEntry, Stake, Unstake, sign_entry
from swarmd.protocols.ledger.genesis import Limits
from swarmd.protocols.ledger.messages import LEDGER_PROTOCOL, AskEntryVote, Evidence, Voted
from swarmd.protocols.ledger.replica import Replica
from tests.ledger.nodes import CREDIT, EPOCH, RUN, LedgerNode, LedgerSwarm, genesis_of, identity, ledger_swarm

pytestmark = [pytest.mark.slow, pytest.mark.heavy]

NODES, HONEST, OPERATIONS = 7, 5, 10_000
OPS_AT_ONCE = 60
SETTINGS = LedgerSettings(vote_timeout=5.0, look_every=30.0, claim_after=5.0)
ROUGH = Conditions(delay=0.02, jitter=0.5, loss=0.3, duplication=0.2, resets=0.002)
LIMITS = Limits(entry_seconds=0, cooldown_seconds=120, grace_seconds=60)


class Chaos:
    """What is done to a swarm, all drawn from one seed."""

    def __init__(self, swarm: LedgerSwarm, seed: int) -> None:
        self.swarm, self.rng = swarm, random.Random(seed)
        self.left, self.written = OPERATIONS, 0
        self.over = trio.Event()

    async def live(self, number: int) -> None:
        """One owner: operations of every kind, until all are done."""
        rng = random.Random(self.rng.random())
        while self.left > 0:
            with trio.move_on_after(20):
                try:
                    await self._act(self.swarm[number], rng)
                except* SwarmdError:
                    pass  # too poor, frozen, refused, or just stopped: part of life
            await trio.sleep(rng.uniform(0.1, 2.0))

    async def _act(self, node: LedgerNode, rng: random.Random) -> None:
        state = node.wallet.replica.state(node.peer)
        if state.lanes and rng.random() < 0.5:
            self.left -= 1
            lane = rng.choice(state.lanes)
            provider = next(n for n in self.swarm.nodes.values() if n.peer == lane.provider)
            total = rng.randint(1, lane.cap)
            voucher = node.voucher(provider.peer, lane.number, total)
            release = provider.release(node.peer, lane.number, total)
            if rng.random() < 0.4:
                await provider.while_up(partial(provider.wallet.claim_lane, node.peer, lane.number, voucher))
            else:
                await node.while_up(partial(node.wallet.settle_lane, lane.number, voucher, release))
        else:
            ops = tuple(self._op(node.peer, rng) for _ in range(rng.randint(1, OPS_AT_ONCE)))
            self.left -= len(ops)
            await node.while_up(partial(node.wallet.write, ops, wait=rng.random() < 0.3))
        self.written += 1

    def _op(self, account: PeerId, rng: random.Random) -> Op:
        other = rng.choice([identity(n + 1).peer for n in range(NODES) if identity(n + 1).peer != account])
        kind, amount = rng.random(), rng.randint(1, CREDIT)
        if kind < 0.9:
            return Pay(other, amount)
        if kind < 0.94:
            return Stake(amount)
        if kind < 0.95:
            return Unstake(max(1, amount // 10))
        return LaneOpen(RUN, other, amount, int(EPOCH + trio.current_time()) + rng.randint(30, 600))

    async def disturb(self) -> None:
        """Splits and restarts, as long as anything is done."""
        while self.left > 0:
            await trio.sleep(self.rng.uniform(5, 15))
            if self.rng.random() < 0.5:
                peers = [identity(n + 1).peer for n in range(NODES)]
                self.rng.shuffle(peers)
                cut = self.rng.randint(1, 3)
                self.swarm.network.split(peers[:cut], peers[cut:])
                await trio.sleep(self.rng.uniform(3, 20))
                self.swarm.network.heal()
            else:
                number = self.rng.randint(1, NODES)
                await self.swarm[number].stop()
                await trio.sleep(self.rng.uniform(0, 10))
                await self.swarm.add(number)
        self.over.set()

    async def lie(self) -> None:
        """Node 7 signs two entries of one number; 6 and 7 vote for both, the honest are asked apart."""
        await trio.sleep(40)
        while not self.swarm[1].wallet.replica.frozen(identity(7).peer):
            await self.swarm[7].while_up(partial(self._lie, self.swarm[7]))
            await trio.sleep(5)

    async def _lie(self, liar: LedgerNode) -> None:
        for _ in range(30):
            await liar.deps.gossip.publish(topic(self.swarm.genesis.id, "head"), self.rng.randbytes(300))
        one, other = self._fork(liar)
        first, second = await self._votes(liar, one, (1, 2, 3)), await self._votes(liar, other, (4, 5, 1, 2))
        assert min(first, second) + 2 < liar.wallet.committee().quorum

    def _fork(self, liar: LedgerNode) -> list[SignedEntry]:
        replica = liar.wallet.replica
        head, state = replica.head(liar.peer), replica.state(liar.peer)
        prev = head.signed.id if head else FIRST_PREV
        entries = []
        for payee in (1, 2):
            entry, _ = next_entry(
                liar.peer, replica.seq(liar.peer) + 1, prev, state, (Pay(identity(payee).peer, 1),), 0
            )
            entries.append(sign_entry(entry, replica.network, liar.identity.sign))
        return entries

    async def _votes(self, liar: LedgerNode, signed: SignedEntry, members: tuple[int, ...]) -> int:
        replica, votes = liar.wallet.replica, 0
        _, state = next_entry(
            liar.peer, signed.entry.seq, signed.entry.prev, replica.state(liar.peer), signed.entry.ops, 0
        )
        for number in members:
            request = AskEntryVote(signed.raw, state.to_bytes(), Evidence())
            try:
                await call(liar.transport, identity(number).peer, LEDGER_PROTOCOL, request, Voted, timeout=5.0)
            except SwarmdError:
                continue
            votes += 1
        return votes


def check(replica: Replica) -> None:
    """What holds at every moment: nothing made, nothing below zero."""
    supply = replica.supply()
    assert supply.total == supply.granted == 700 * CREDIT
    assert all(replica.state(account).balance >= 0 for account in replica.accounts())


def check_pairs(replica: Replica) -> None:
    """Nobody took more than was sent, or set aside for it."""
    for account in replica.accounts():
        for total in replica.state(account).received:
            payer = replica.state(total.peer)
            aside = sum(lane.cap for lane in payer.lanes if lane.provider == account)
            assert total.amount <= payer.sent_to(account) + aside


@pytest.mark.parametrize("seed", [1])
async def test_ten_thousand_operations_make_equal_replicas_and_no_credits(
    tmp_path: Path, ledger_clock: trio.testing.MockClock, seed: int
) -> None:
    grants = {number + 1: 100 for number in range(NODES)}
    genesis = genesis_of(NODES, grants=grants, limits=LIMITS)
    async with ledger_swarm(tmp_path, genesis, conditions=ROUGH, seed=seed, settings=SETTINGS) as swarm:
        await swarm.add_all(NODES)
        chaos = Chaos(swarm, seed)
        async with trio.open_nursery() as nursery:
            for number in range(NODES):
                nursery.start_soon(chaos.live, number + 1)
            nursery.start_soon(chaos.disturb)
            nursery.start_soon(chaos.lie)
            while not chaos.over.is_set():
                await trio.sleep(10)
                for number in range(HONEST):
                    check(swarm[number + 1].wallet.replica)
        await swarm.settled(3600)
        replicas = [swarm[number + 1].wallet.replica for number in range(HONEST)]
        assert len({replica.buckets.root() for replica in replicas}) == 1
        assert [culprit for culprit, _ in replicas[0].proofs()] == [identity(7).peer]
        for replica in replicas:
            check(replica)
            check_pairs(replica)
