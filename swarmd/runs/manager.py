"""The runs of this node: submitted here, coordinated here, remembered here."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import trio

from swarmd.children import run_child
from swarmd.protocols.budget import Budget
from swarmd.protocols.errors import NotFound, Refused, UsageError
from swarmd.protocols.ids import BlobHash, PeerId, RunId, short
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import RunStatement, sign_run
from swarmd.runs.blob_exchange import Grant
from swarmd.runs.collecting import collect_pay, serve_pay
from swarmd.runs.deps import RunDeps
from swarmd.runs.journal import load_records, save_record
from swarmd.runs.life import Life
from swarmd.runs.record import RunRecord, needed_blobs, spec_blobs
from swarmd.runs.view import state_words
from swarmd.runs.wiring import settled_spec

_logger = logging.getLogger(__name__)

MAX_RUNNING = 8
"""Runs that one node coordinates at once."""


class Runs:
    """Every run of this node. Its methods answer the control socket."""

    def __init__(self, deps: RunDeps) -> None:
        self._deps = deps
        self._records: dict[RunId, RunRecord] = {}
        self._running: dict[RunId, Life] = {}
        self._changed = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Coordinate runs until cancelled. Those that were going when the daemon last ended go on."""
        self._records = await load_records(self._deps)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            serve_pay(self._deps, self._is_over, nursery)
            nursery.start_soon(collect_pay, self._deps)
            nursery.start_soon(self._go_on)
            task_status.started()
            await trio.sleep_forever()

    @property
    def records(self) -> tuple[RunRecord, ...]:
        """Every run, newest first."""
        return tuple(sorted(self._records.values(), key=lambda record: -record.created))

    @property
    def running(self) -> int:
        """Runs being coordinated now."""
        return len(self._running)

    @property
    def changed(self) -> trio.Event:
        """Set when a run has changed its state; ask again for the next one."""
        return self._changed

    def find(self, prefix: str) -> RunRecord:
        """The run with this id, or the only one whose id begins so. Raises NotFound or UsageError."""
        found = [record for record in self._records.values() if record.run.startswith(prefix)]
        if not prefix or not found:
            raise NotFound(f"no run {prefix!r} here", hint="`swarmd jobs ls` lists the runs of this node")
        if len(found) > 1:
            raise UsageError(f"{prefix!r} begins {len(found)} run ids", hint="give more characters of the id")
        return found[0]

    async def submit(self, path: str) -> RunRecord:
        """Resolve a job file and begin its run. Raises what is wrong with the file, or Refused."""
        self._check_room()
        await self._deps.device.probed.wait()
        answer = await run_child("prepare", path, "--blobs", str(self._deps.blobs.root))
        settled = await settled_spec(answer, self._deps)
        record = self._record(settled.spec, Budget(**answer["budget"]), answer["run"])
        self._deps.events.info(settled.wire, run=record.run)
        self._deps.events.info(settled.batch, run=record.run)
        await save_record(record, self._deps)
        self._begin(record, again=False)
        return record

    async def resume(self, prefix: str) -> RunRecord:
        """Go on from the last checkpoint that is whole. Raises NotFound, UsageError or Refused."""
        record = self.find(prefix)
        state, _, _ = state_words(record)
        if record.run in self._running or state == "done":
            raise UsageError(
                f"run {short(record.run)} is {state}", hint="only a run that failed or was stopped resumes"
            )
        self._check_room()
        self._begin(record, again=True)
        return record

    def stop(self, prefix: str, reason: str) -> RunRecord:
        """End a run at its user's word. Raises NotFound or UsageError."""
        record = self.find(prefix)
        life = self._running.get(record.run)
        if life is None:
            raise UsageError(f"run {short(record.run)} is {state_words(record)[0]}: nothing to stop")
        life.stop(reason)
        return record

    def _is_over(self, run: RunId, lane: int) -> RunRecord | None:
        """The run, if no term of it is going that pays from this lane."""
        life = self._running.get(run)
        return None if life is not None and life.pays(lane) else self._records.get(run)

    def _check_room(self) -> None:
        if len(self._running) >= MAX_RUNNING:
            raise Refused(f"this node coordinates {MAX_RUNNING} runs already", hint="wait, or stop one")

    def _record(self, spec: JobSpec, budget: Budget, asked: dict[str, Any]) -> RunRecord:
        deps = self._deps
        me: PeerId = deps.identity.peer
        created = time.time()
        statement = RunStatement(deps.network.id, spec.spec_id, me, os.urandom(16), int(created))
        return RunRecord(
            run=statement.run,
            name=spec.name,
            spec=spec,
            statement=statement,
            signed=sign_run(statement, deps.identity.sign),
            directory=deps.paths.run(statement.run),
            created=created,
            asked=RunTable(**asked),
            budget=budget,
            grant=Grant(deps.blobs, blobs=spec_blobs(spec)),
        )

    def _begin(self, record: RunRecord, *, again: bool) -> None:
        if again:
            record.reopen()
        self._records[record.run] = record
        life = self._running[record.run] = Life(record, self._deps, self._notify, self._needed, self._nursery)
        self._nursery.start_soon(self._live, life, record.run, again)

    async def _live(self, life: Life, run: RunId, again: bool) -> None:
        try:
            await life.run(again=again)
        finally:
            self._running.pop(run, None)

    async def _go_on(self) -> None:
        """Runs that were going when the daemon ended go on, once the device is known."""
        await self._deps.device.probed.wait()
        for record in self.records[::-1]:
            if record.interrupted and record.asked.restarts:
                self._begin(record, again=True)

    def _needed(self) -> set[BlobHash]:
        """Every blob that some run here needs: equal jobs have equal checkpoints."""
        return {name for record in self._records.values() for name in needed_blobs(record)}

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
