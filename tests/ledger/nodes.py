"""Nodes with nothing but the ledger: memory network, real files, trio's clock."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from swarmd.identity import Identity, identity_of
from swarmd.ledger.deps import LedgerDeps, LedgerSettings
from swarmd.ledger.jobsdb import serve_job_store
from swarmd.ledger.ledgerdb import serve_ledger_store
from swarmd.ledger.selfdb import serve_self_store
from swarmd.ledger.service import serve_ledger
from swarmd.ledger.wallet import Wallet
from swarmd.log import EventLog
from swarmd.net.memory import Conditions, MemoryNetwork, MemoryTransport
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId, RunId
from swarmd.protocols.ledger.genesis import Genesis, Grant, Limits, Member
from swarmd.protocols.ledger.vouchers import LaneRelease, Voucher, sign_release, sign_voucher

EPOCH = 1_800_000_000.0
"""Unix time at which every test begins."""
CREDIT = 1_000_000
RUN = RunId("ab" * 32)
CALM = LedgerSettings(meet_every=60.0, sync_every=600.0)
"""For tests in which hours pass."""


@contextmanager
def threads_stop_the_clock(clock: trio.testing.MockClock, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Time does not jump while a thread works: a disk is not slow because a clock is fast."""
    working, plain = [0], trio.to_thread.run_sync

    async def run_sync(*args: Any, **kwargs: Any) -> Any:
        working[0] += 1
        clock.autojump_threshold = float("inf")
        try:
            return await plain(*args, **kwargs)
        finally:
            working[0] -= 1
            if not working[0]:
                clock.autojump_threshold = 0

    with patch.context() as patched:
        patched.setattr(trio.to_thread, "run_sync", run_sync)
        yield


@dataclass
class LedgerNode:
    """One node's parts that tests look at."""

    identity: Identity
    deps: LedgerDeps
    wallet: Wallet
    transport: MemoryTransport
    scope: trio.CancelScope
    stopping: trio.Event = field(default_factory=trio.Event)
    ended: trio.Event = field(default_factory=trio.Event)

    @property
    def peer(self) -> PeerId:
        return self.identity.peer

    @property
    def balance(self) -> int:
        return self.wallet.standing().balance

    async def stop(self) -> None:
        """End it as a daemon ends."""
        self.stopping.set()
        self.scope.cancel()
        await self.ended.wait()

    async def while_up(self, act: Callable[[], Awaitable[object]]) -> None:
        """Do something of this node's, and no more once it is stopped."""

        async def stop() -> None:
            await self.stopping.wait()
            nursery.cancel_scope.cancel()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(stop)
            await act()
            nursery.cancel_scope.cancel()

    async def until(self, true: Callable[[], object], seconds: float = 300.0) -> None:
        """Wait for something the wallet shows."""
        with trio.fail_after(seconds):
            while not true():
                with trio.move_on_after(seconds / 100):
                    await self.wallet.changed.wait()

    def voucher(self, provider: PeerId, lane: int, total: int, number: int = 1) -> bytes:
        """Our word that a provider earned this much from our lane."""
        voucher = Voucher(
            payer=self.peer,
            lane=lane,
            run=RUN,
            provider=provider,
            number=number,
            total=total,
            work_root=bytes(32),
        )
        return sign_voucher(voucher, self.wallet.replica.network, self.identity.sign)

    def release(self, payer: PeerId, lane: int, total: int) -> bytes:
        """Our word as a provider that a lane may be closed at this."""
        word = LaneRelease(payer, lane, self.peer, total)
        return sign_release(word, self.wallet.replica.network, self.identity.sign)


@cache
def identity(number: int) -> Identity:
    """The identity of the node of this number, from 1."""
    return identity_of(number.to_bytes(2, "big") * 16)


def genesis_of(
    members: int, *, grants: dict[int, int] | None = None, limits: Limits | None = None, operator: int = 1
) -> Genesis:
    """A network whose first nodes vote with equal weight; grants in credits, by node number."""
    granted = sorted((identity(number).peer, amount) for number, amount in (grants or {1: 1000}).items())
    return Genesis(
        name="test",
        salt=b"test",
        operator=identity(operator).peer,
        grants=tuple(Grant(peer, amount * CREDIT) for peer, amount in granted),
        committee=tuple(sorted((Member(identity(n + 1).peer, 1) for n in range(members)), key=lambda m: m.peer)),
        limits=limits or Limits(entry_seconds=0),
    )


class LedgerSwarm:
    """Nodes that keep dialling each other."""

    def __init__(
        self, folder: Path, genesis: Genesis, network: MemoryNetwork, nursery: trio.Nursery, settings: LedgerSettings
    ) -> None:
        self.folder, self.genesis, self.network, self._nursery = folder, genesis, network, nursery
        self.settings = settings
        self.nodes: dict[int, LedgerNode] = {}

    async def add(
        self,
        number: int,
        *,
        state: str = "",
        clock_error: float = 0.0,
        target_stake: int = 0,
        settings: LedgerSettings | None = None,
        tamper: Callable[[LedgerDeps], LedgerDeps] = lambda deps: deps,
    ) -> LedgerNode:
        """The node of this number, new or started again; connected to the others at once."""
        serve = partial(
            self._node,
            number,
            self.folder / (state or f"node-{number}"),
            clock_error,
            target_stake,
            settings or self.settings,
            tamper,
        )
        node: LedgerNode = await self._nursery.start(serve)
        self.nodes[number] = node
        return node

    async def add_all(self, count: int, **settings: Any) -> list[LedgerNode]:
        """Nodes 1 to ``count``."""
        return [await self.add(number + 1, **settings) for number in range(count)]

    def __getitem__(self, number: int) -> LedgerNode:
        return self.nodes[number]

    async def settled(self, seconds: float = 600.0) -> None:
        """Wait until all nodes know the same and nobody waits for the committee."""
        await until(self._same, seconds)

    def _same(self) -> bool:
        replicas = [node.wallet.replica for node in self.nodes.values() if not node.ended.is_set()]
        standings = [node.wallet.standing() for node in self.nodes.values() if not node.ended.is_set()]
        busy = any(each.pending or each.waiting or each.pending_in for each in standings if not each.frozen)
        return not busy and len({(r.buckets.root(), r.proofs_hash(), r.committee.number) for r in replicas}) == 1

    async def _node(
        self,
        number: int,
        folder: Path,
        clock_error: float,
        target_stake: int,
        settings: LedgerSettings,
        tamper: Callable[[LedgerDeps], LedgerDeps],
        task_status: trio.TaskStatus[LedgerNode],
    ) -> None:
        who = identity(number)
        folder.mkdir(exist_ok=True)  # noqa: ASYNC240
        async with trio.open_nursery() as files, self.network.node(who.seed) as (transport, _):
            deps = tamper(
                LedgerDeps(
                    genesis=self.genesis,
                    identity=who,
                    transport=transport,
                    gossip=transport.gossip,
                    peers=lambda: tuple(sorted(transport.connected())),
                    dial=partial(self._dial, transport),
                    self_store=await files.start(serve_self_store, folder / "self.db"),
                    ledger_store=await files.start(serve_ledger_store, folder / "ledger.db"),
                    job_store=await files.start(serve_job_store, folder / "jobs.db"),
                    events=EventLog(),
                    clock=lambda: EPOCH + clock_error + trio.current_time(),
                    target_stake=target_stake,
                    settings=settings,
                )
            )
            async with trio.open_nursery() as nursery:
                await self._dial_all(transport)
                nursery.start_soon(self._keep_connected, transport)
                wallet = await nursery.start(serve_ledger, deps)
                node = LedgerNode(who, deps, wallet, transport, nursery.cancel_scope)
                task_status.started(node)
                await trio.sleep_forever()
            files.cancel_scope.cancel()
        node.ended.set()

    async def _keep_connected(self, transport: MemoryTransport) -> None:
        while True:
            await trio.sleep(self.settings.meet_every)
            await self._dial_all(transport)

    async def _dial_all(self, transport: MemoryTransport) -> None:
        for peer in sorted(set(self.network.nodes) - set(transport.connected()) - {transport.peer_id}):
            await self._dial(transport, peer)

    async def _dial(self, transport: MemoryTransport, peer: PeerId) -> None:
        node = self.network.nodes.get(peer)
        try:
            if node is not None:
                await transport.dial(peer, node.addresses())
        except PeerLost:
            pass


@asynccontextmanager
async def ledger_swarm(
    folder: Path,
    genesis: Genesis,
    *,
    conditions: Conditions | None = None,
    seed: int = 0,
    settings: LedgerSettings | None = None,
) -> AsyncIterator[LedgerSwarm]:
    """A swarm for the length of the block."""
    async with trio.open_nursery() as nursery:
        network = MemoryNetwork(conditions=conditions, seed=seed)
        yield LedgerSwarm(folder, genesis, network, nursery, settings or LedgerSettings())
        nursery.cancel_scope.cancel()


async def until(true: Callable[[], object], seconds: float = 60.0, every: float = 1.0) -> None:
    """Wait for something that nothing tells of."""
    with trio.fail_after(seconds):
        while not true():  # noqa: ASYNC110
            await trio.sleep(every)
