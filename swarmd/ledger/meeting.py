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
        """Compare with this peer as soon as there is room. However many others wait, a committee member may too."""
        if len(self._wanted) < MAX_WANTED or self._votes(peer):
            self._wanted[peer] = None
            self._wish.set()

    async def run(self) -> None:
        """Compare, for ever. Strangers that are slow to answer take no room from the committee's members."""
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._look)
            nursery.start_soon(self._now_and_then)
            while True:
                self._wish = trio.Event()
                while (peer := self._next()) is not None:
                    del self._wanted[peer]
                    self._busy.add(peer)
                    nursery.start_soon(self._compare, peer)
                await self._wish.wait()

    def _next(self) -> PeerId | None:
        """Whom to compare with now, of those that are wanted and have room."""
        voting = sum(map(self._votes, self._busy))
        busy = {True: voting, False: len(self._busy) - voting}
        room = (peer for peer in self._wanted if busy[self._votes(peer)] < self._deps.settings.syncs_at_once)
        return next((peer for peer in room if peer not in self._busy), None)

    def _votes(self, peer: PeerId) -> bool:
        return peer in self._keeper.replica.committee.peers

    async def _look(self) -> None:
        """Whoever connects is compared with at once; a member that comes back may be asked for votes."""
        known: frozenset[PeerId] = frozenset()
        while True:
            here = frozenset(self._deps.peers())
            for peer in sorted(here - known):
                self.want(peer)
            if (here - known) & self._concerned():
                self._collector.nudge()
            known = here
            await trio.sleep(self._deps.settings.meet_every)

    def _concerned(self) -> set[PeerId]:
        """Those whose votes, or whose reports for the committee, may be waited for."""
        return {peer for committee in self._keeper.replica.committees[-2:] for peer in committee.peers}

    async def _now_and_then(self) -> None:
        while True:
            await trio.sleep(self._deps.settings.sync_every * self._rng.uniform(0.75, 1.25))
            peers = sorted(self._deps.peers())
            if peers:
                self.want(self._rng.choice(peers))

    async def _compare(self, peer: PeerId) -> None:
        try:
            with trio.move_on_after(self._deps.settings.sync_longest) as scope:
                await self._sync.reconcile(peer)
            self._keeper.counters["comparisons_cut_short"] += scope.cancelled_caught
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
            self._wish.set()
