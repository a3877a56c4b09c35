"""Whom to compare with, and when: every newly connected peer, a random one now and then, and whoever is ahead."""

from __future__ import annotations

import logging
import random

import trio

from swarmd.ledger.collect import Collector
from swarmd.ledger.desk import Desk
from swarmd.ledger.keeper import Keeper
from swarmd.ledger.sync import Sync
from swarmd.protocols.errors import ProtocolViolation, SwarmdError
from swarmd.protocols.ids import PeerId, short

_LOG = logging.getLogger(__name__)

MAX_WANTED = 64


class Meeting:
    """``run`` is the service; ``want`` asks for a comparison soon."""

    def __init__(self, keeper: Keeper, sync: Sync, collector: Collector, rng: random.Random) -> None:
        self._keeper, self._sync, self._collector, self._rng = keeper, sync, collector, rng
        self._deps = keeper.deps
        self._wanted: dict[PeerId, None] = {}  # in order, at most MAX_WANTED
        self._wish = trio.Event()
        self._busy: set[PeerId] = set()
        self.desk: Desk | None = None

    def want(self, peer: PeerId) -> None:
        """Compare with this peer as soon as there is room."""
        if len(self._wanted) < MAX_WANTED:
            self._wanted[peer] = None
            self._wish.set()

    async def run(self) -> None:
        """Compare, for ever."""
        limit = trio.CapacityLimiter(self._deps.settings.syncs_at_once)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            nursery.start_soon(self._now_and_then)
            while True:
                while not self._wanted:
                    self._wish = trio.Event()
                    await self._wish.wait()
                async with limit:  # wait for room before choosing
                    pass
                peer = next(iter(self._wanted))
                del self._wanted[peer]
                if peer not in self._busy:
                    self._busy.add(peer)
                    nursery.start_soon(self._compare, peer, limit)

    async def _look(self) -> None:
        """Whoever connects is compared with at once; a member that comes back may be asked for votes."""
        known: frozenset[PeerId] = frozenset()
        while True:
            here = frozenset(self._deps.peers())
            for peer in sorted(here - known):
                self.want(peer)
            if (here - known) & set(self._keeper.replica.committee.peers):
                self._collector.nudge()
            known = here
            await trio.sleep(self._deps.settings.meet_every)

    async def _now_and_then(self) -> None:
        while True:
            await trio.sleep(self._deps.settings.sync_every * self._rng.uniform(0.75, 1.25))
            peers = sorted(self._deps.peers())
            if peers:
                self.want(self._rng.choice(peers))

    async def _compare(self, peer: PeerId, limit: trio.CapacityLimiter) -> None:
        async with limit:
            try:
                await self._sync.reconcile(peer)
            except ProtocolViolation as error:
                _LOG.info("%s sent what does not hold: %s", short(peer), error)
                if self.desk is not None:
                    await self.desk.offended(peer)
            except SwarmdError as error:
                self._keeper.counters["comparisons_failed"] += 1
                _LOG.debug("%s: %s", short(peer), error)
            except Exception:  # noqa: BLE001 - the edge of what deals with one peer
                self._keeper.counters["ledger_errors"] += 1
                _LOG.exception("comparing the ledger with %s", short(peer))
            finally:
                self._busy.discard(peer)
