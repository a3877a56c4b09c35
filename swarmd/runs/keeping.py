"""Checkpoints on the coordinator's disk: stages' units are brought here, and old checkpoints go."""

from __future__ import annotations

from collections.abc import Callable

import trio

from swarmd.protocols.errors import NotFound, RemoteError, TimedOut
from swarmd.protocols.ids import BlobHash, PeerId
from swarmd.protocols.messages import Checkpointed
from swarmd.runs.blob_exchange import fetch_blob
from swarmd.runs.deps import RunDeps
from swarmd.runs.record import KeptCheckpoint, RunRecord, checkpoint_blobs
from swarmd.runs.sizes import KEPT_CHECKPOINTS, unit_sizes


class Keeper:
    """Keeps the newest whole checkpoints of one run. ``needed`` gives the blobs that any run here needs.

    One step at a time is brought here, from every stage; steps that come meanwhile are left out, but never
    the last.
    """

    def __init__(self, record: RunRecord, deps: RunDeps, needed: Callable[[], set[BlobHash]]) -> None:
        self._record, self._deps, self._needed = record, deps, needed
        self._wanted: int | None = None
        self._newest = 0
        self._whole = trio.Event()

    async def keep(self, peer: PeerId, report: Checkpointed) -> None:
        """Bring a stage's units to our disk: a checkpoint must outlive its stages.

        Of replicas the head's are brought, and the others' must have the same names.

        Raises:
            RunFailed: replicas of a stage have different units.
            RemoteError, TimedOut, NotFound: a unit of the last step did not come.
            StateError: the disk will not take it.
        """
        self._record.agreed(peer, "weights", report.step, report.units)
        last = report.step == self._record.spec.schedule.steps
        if not self._record.is_head(peer) or not (self._wants(report.step) or last):
            return
        try:
            await self._fetch(peer, report)
        except (RemoteError, TimedOut, NotFound) as error:
            if last:
                raise
            self._wanted = None
            words = f"the checkpoint of step {report.step} is left out: {error.message}"
            self._deps.events.warning(words, run=self._record.run)
        else:
            await self._stored(report)

    def _wants(self, step: int) -> bool:
        if self._wanted is None and step > self._newest:  # no stage has been told to leave it out
            self._wanted = step
        self._newest = max(self._newest, step)
        return step == self._wanted

    def go_back(self, step: int) -> None:
        """All stages go back to this step: later ones will be told of once more."""
        self._wanted, self._newest = None, step

    async def wait_for_last(self) -> None:
        """Return when the last step's checkpoint is whole."""
        record = self._record
        while record.checkpoint is None or record.checkpoint[0] < record.spec.schedule.steps:
            await self._whole.wait()

    async def _fetch(self, peer: PeerId, report: Checkpointed) -> None:
        record, deps = self._record, self._deps
        for unit in report.units:
            for blob, most in unit_sizes(record.spec, unit):
                await fetch_blob(deps.routes, deps.grants, peer, record.run, blob, record.grant.store, most)

    async def _stored(self, report: Checkpointed) -> None:
        record = self._record
        whole = record.stored(report.step, report.units, record.grant.store)
        if whole is None or record.checkpoint is None:
            return
        record.kept.append(KeptCheckpoint(*record.checkpoint, frozenset(checkpoint_blobs(whole))))
        record.grant.blobs |= record.kept[-1].blobs
        self._deps.events.info(f"checkpoint of step {report.step} is whole", run=record.run)
        self._wanted = None
        self._whole.set()
        self._whole = trio.Event()
        await self._forget_old()

    async def _forget_old(self) -> None:
        record = self._record
        old, record.kept = record.kept[:-KEPT_CHECKPOINTS], record.kept[-KEPT_CHECKPOINTS:]
        gone = {name for each in old for name in each.names} | record.left_over(record.kept[-1].step)
        gone -= self._needed()
        record.grant.blobs -= gone
        for name in gone:
            await trio.to_thread.run_sync(record.grant.store.delete, name)
