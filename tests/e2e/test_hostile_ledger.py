"""A committee under attack from strangers who know its ledger: it stays up, counts them, and goes on certifying."""

from __future__ import annotations

import random
import statistics
import time
from functools import partial
from pathlib import Path

import psutil
import pytest
import trio

from swarmd.cli.client import stream
from swarmd.net.rpc import call
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.genesis import Genesis
from swarmd.protocols.ledger.messages import LEDGER_PROTOCOL, GetHeads, Heads
from tests.e2e.daemons import Daemon, daemons
from tests.e2e.hostile_ledger import Ledger, LedgerAttacker, LedgerPhrases
from tests.e2e.hostile_peer import everywhere, node
from tests.e2e.ledger_swarm import LedgerSwarm

pytestmark = [pytest.mark.slow, pytest.mark.net, pytest.mark.heavy]

NAMES = ["one", "two", "three"]
"""All vote, and all three must: nothing is certified around the one that is attacked."""
AMOUNT = 1000
ATTACKERS, AT_ONCE = 8, 2
QUESTIONS, FRAMES = 280, 200
MOST_GROWTH = 64 << 20
"""Bytes by which the daemon's memory may be larger after the attack than before."""
RISING = (
    "violations",
    "gossip_rejected",
    "gossip_muted",
    "gossip_throttled",
    "ledger_offences",
    "ledger_offenders_dropped",
)


class Payments:
    """One honest owner that pays another again and again, and times it."""

    def __init__(self, payer: Daemon, payee: str) -> None:
        self._payer, self._payee = payer, payee
        self.seconds: list[float] = []

    async def go_on(self) -> None:
        while True:
            self.seconds.append(await trio.to_thread.run_sync(self._pay, abandon_on_cancel=True))

    def _pay(self) -> float:
        began = time.perf_counter()
        views = list(stream(self._payer.paths, "pay", idle=30.0, peer=self._payee, amount=AMOUNT))
        assert views[-1]["state"] == "final"
        return time.perf_counter() - began


async def attack(victim: Daemon, genesis: Genesis, heads: tuple[bytes, ...], chance: random.Random) -> int:
    """By stranger after stranger, some at once; gives how many messages."""
    address, sent = victim.addresses[0].partition("/p2p/")[0], [0]

    async def one(number: int) -> None:
        async with node(700 + number, listen=()) as (identity, transport, _):
            phrases = LedgerPhrases(identity, Ledger(genesis, heads), chance)
            attacker = LedgerAttacker(transport, phrases, PeerId(victim.peer), address)
            await attacker.gossip(FRAMES)
            await everywhere(QUESTIONS, lambda _: attacker.ask(), at_once=8)
            sent[0] += attacker.sent

    await everywhere(ATTACKERS, one, at_once=AT_ONCE)
    return sent[0]


async def certified_heads(daemon: Daemon, genesis: Genesis) -> tuple[bytes, ...]:
    """What any stranger is given."""
    peer, address = PeerId(daemon.peer), daemon.addresses[0].partition("/p2p/")[0]
    async with node(699, listen=()) as (_, transport, _):
        await transport.dial(peer, (address,))
        accounts = tuple(grant.account for grant in genesis.grants)
        return (await call(transport, peer, LEDGER_PROTOCOL, GetHeads(accounts), Heads)).heads


async def test_thousands_of_hostile_messages_on_the_ledger_hold_up_no_payment(tmp_path: Path) -> None:
    chance = random.Random(61)
    with daemons(tmp_path) as start:
        swarm = LedgerSwarm(start, tmp_path, NAMES, members=3, private=False)
        genesis = swarm.genesis
        swarm.start_all()
        one, two, three = swarm.running.values()
        payments = Payments(two, three.peer)
        calm = [await trio.to_thread.run_sync(payments._pay) for _ in range(3)]
        heads = await certified_heads(one, genesis)
        assert heads
        process = psutil.Process(one.process.pid)
        before = process.memory_info().rss
        counted = one.ask("status")["counters"]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(payments.go_on)
            assert await attack(one, genesis, heads, chance) >= ATTACKERS * QUESTIONS
            nursery.cancel_scope.cancel()
        status = await trio.to_thread.run_sync(partial(one.ask, "status"))
        assert status["pid"] == one.process.pid
        assert [name for name in RISING if status["counters"].get(name, 0) <= counted.get(name, 0)] == []
        assert process.memory_info().rss - before < MOST_GROWTH
        assert len(payments.seconds) >= 5
        assert statistics.median(payments.seconds) < max(2.0, 10 * statistics.median(calm))
        assert max(payments.seconds) < 15
        books = await trio.to_thread.run_sync(swarm.books)
        assert books.claimed("three", "two") == books.sent("two", "three") >= len(payments.seconds) * AMOUNT
