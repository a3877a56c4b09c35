"""One run from its first term to its last.

A term is one coordinator with the peers that it found. When a peer is lost the next term begins from the newest
checkpoint, as long as ``scheduler.terms`` says so.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

import trio

from swarmd.protocols.control import FINAL_STATES
from swarmd.protocols.errors import StateError, SwarmdError
from swarmd.protocols.ids import BlobHash, short
from swarmd.runs.coordinator import Coordinator
from swarmd.runs.deps import RunDeps
from swarmd.runs.journal import newest_manifest, save_record
from swarmd.runs.record import RunRecord
from swarmd.runs.view import decided_state
from swarmd.scheduler.runstate import Phase
from swarmd.scheduler.terms import Ending, Terms

_logger = logging.getLogger(__name__)

SAVE_SECONDS = 5.0


class Life:
    """A run of this node while it goes on."""

    def __init__(
        self,
        record: RunRecord,
        deps: RunDeps,
        changed: Callable[[], None],
        needed: Callable[[], set[BlobHash]],
        lasting: trio.Nursery,
    ) -> None:
        """As for ``Coordinator``."""
        self._record, self._deps, self._changed = record, deps, changed
        self._needed, self._lasting = needed, lasting
        self._terms = Terms(record.asked.restarts, record.term)
        self._stopped, self._stop_asked = "", trio.Event()
        self._coordinator: Coordinator | None = None

    def stop(self, reason: str) -> None:
        """End the run at its user's word."""
        self._stopped = reason
        self._stop_asked.set()
        if self._coordinator is not None:
            self._coordinator.stop(reason)

    def pays(self, lane: int) -> bool:
        """Whether the term that is going pays from a lane of ours."""
        return self._coordinator is not None and self._coordinator.pays(lane)

    async def run(self, *, again: bool) -> None:
        """Until the run is over and its last state is on disk. ``again``: begin with a term after the last one.

        A nursery edge: whatever ends one run ends that run only.
        """
        record = self._record
        try:
            if again:
                await self._renew()
            while await self._term():
                await self._renew()
        except SwarmdError as error:
            self._end(error.code, error.message)
        except Exception:
            _logger.exception("a run's coordinator failed", extra={"run": record.run})
            self._end("failed", "an internal error; the daemon's log has it")
        finally:
            await self._save_last_state()
            record.settled = True
            self._changed()

    async def _term(self) -> bool:
        """One term; whether another one follows."""
        record, before = self._record, self._record.checkpoint
        record.state = None
        await save_record(record, self._deps)
        self._coordinator = Coordinator(record, self._deps, self._changed, self._needed, self._lasting)
        if self._stopped:
            self._coordinator.stop(self._stopped)
        self._deps.events.info(f"run {short(record.run)} ({record.name}) begins, term {record.term}", run=record.run)
        await self._coordinator.run()
        state = self._coordinator.state
        if state.phase is not Phase.FAILED or self._stopped:
            return False
        planned, gained = record.plan is not None, record.checkpoint != before
        following = self._terms.after(Ending(code=state.code, planned=planned, gained=gained))
        if following is None:
            self._deps.events.info(f"failed: {state.reason}", run=record.run)
            return False
        self._terms = following
        return True

    async def _renew(self) -> None:
        """Wait as long as is due, and set the run back to its newest checkpoint."""
        record, reached = self._record, self._record.step
        record.reopen()
        record.recoveries.lost(record.remembered[2], reached, time.time())
        self._changed()
        with trio.move_on_after(self._terms.pause):
            await self._stop_asked.wait()
        manifest = await newest_manifest(record, self._deps)
        why = record.remembered[2]
        record.renew(manifest)
        words = f"term {record.term} goes on from step {record.step}, {reached - record.step} steps are done again"
        self._deps.events.warning(f"{why}; {words}", run=record.run)

    def _end(self, code: str, reason: str) -> None:
        """What went wrong was not the coordinator's to tell."""
        if self._coordinator is not None:
            self._coordinator.break_off(code, reason)
        if decided_state(self._record)[0] not in FINAL_STATES:
            self._record.state, self._record.remembered = None, ("failed", code, reason)

    async def _save_last_state(self) -> None:
        """Best effort: a daemon that is stopping finds the run as interrupted when it starts again."""
        with trio.CancelScope(shield=True, deadline=trio.current_time() + SAVE_SECONDS):
            try:
                await save_record(self._record, self._deps)
            except StateError as error:
                _logger.warning("a run's last state is not saved: %s", error.message, extra={"run": self._record.run})
