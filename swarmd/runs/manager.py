"""The runs of this node: submitted here, coordinated here, remembered here."""

from __future__ import annotations

import logging
import os
import time
from typing import Any

import trio

from swarmd.children import run_child
from swarmd.protocols.budget import Budget
from swarmd.protocols.checkpoint import parse_checkpoint
from swarmd.protocols.errors import NotFound, Refused, StateError, UsageError
from swarmd.protocols.ids import BlobHash, PeerId, RunId, short
from swarmd.protocols.jobtables import RunTable
from swarmd.protocols.spec import JobSpec
from swarmd.protocols.statements import RunStatement, sign_run
from swarmd.runs.blob_exchange import Grant
from swarmd.runs.collecting import collect_pay, serve_pay
from swarmd.runs.coordinator import Coordinator
from swarmd.runs.deps import RunDeps
from swarmd.runs.journal import load_records, save_record
from swarmd.runs.record import RunRecord, checkpoint_blobs, needed_blobs, spec_blobs
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
        self._running: dict[RunId, Coordinator] = {}
        self._changed = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Coordinate runs until cancelled; what was running is kept as stopped, and can be resumed."""
        self._records = await load_records(self._deps)
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            serve_pay(self._deps, self._is_over, nursery)
            nursery.start_soon(collect_pay, self._deps)
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
        await self._begin(record)
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
        record.term += 1
        record.plan, record.members, record.reasons = None, {}, ()
        record.trained_before += (record.ended or 0) - (record.began or record.ended or 0)
        record.began = record.ended = None
        record.settled, record.remembered = False, ("recruiting", "", "")
        await self._start_from_checkpoint(record)
        await self._begin(record)
        return record

    def stop(self, prefix: str, reason: str) -> RunRecord:
        """End a run at its user's word. Raises NotFound or UsageError."""
        record = self.find(prefix)
        coordinator = self._running.get(record.run)
        if coordinator is None:
            raise UsageError(f"run {short(record.run)} is {state_words(record)[0]}: nothing to stop")
        coordinator.stop(reason)
        return record

    def _is_over(self, run: RunId, lane: int) -> RunRecord | None:
        """The run, if no term of it is going that pays from this lane."""
        coordinator = self._running.get(run)
        return None if coordinator is not None and coordinator.pays(lane) else self._records.get(run)

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

    async def _start_from_checkpoint(self, record: RunRecord) -> None:
        step = 0
        if record.checkpoint is not None:
            step, name = record.checkpoint
            checkpoint = parse_checkpoint(await trio.to_thread.run_sync(self._deps.blobs.get, name))
            record.start = name
            record.grant.blobs |= {name, *checkpoint_blobs(checkpoint)}
        record.forget_after(step)

    async def _begin(self, record: RunRecord) -> None:
        record.state = None
        await save_record(record, self._deps)
        self._records[record.run] = record
        coordinator = Coordinator(record, self._deps, self._notify, self._needed, self._nursery)
        self._running[record.run] = coordinator
        self._deps.events.info(f"run {short(record.run)} ({record.name}) begins, term {record.term}", run=record.run)
        self._nursery.start_soon(self._coordinate, coordinator, record)

    def _needed(self) -> set[BlobHash]:
        """Every blob that some run here needs: equal jobs have equal checkpoints."""
        return {name for record in self._records.values() for name in needed_blobs(record)}

    async def _coordinate(self, coordinator: Coordinator, record: RunRecord) -> None:
        """A nursery edge: whatever ends one run's coordinator ends that run only."""
        try:
            await coordinator.run()
        except Exception:
            _logger.exception("a run's coordinator failed", extra={"run": record.run})
            coordinator.break_off("an internal error; the daemon's log has it")
        finally:
            self._running.pop(record.run, None)
            await self._save_last_state(record)
            record.settled = True
            self._notify()

    async def _save_last_state(self, record: RunRecord) -> None:
        """Best effort: a daemon that is stopping finds the run as interrupted when it starts again."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + 5):
            try:
                await save_record(record, self._deps)
            except StateError as error:
                _logger.warning("a run's last state is not saved: %s", error.message, extra={"run": record.run})

    def _notify(self) -> None:
        self._changed.set()
        self._changed = trio.Event()
