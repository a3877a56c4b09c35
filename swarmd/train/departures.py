"""What leaves a compute process, in its order: frames and reports.

A frame may still be on its way from the device. Then a thread waits for it, hashes it and writes it, while the stage
computes on; what comes after it waits its turn, so nothing overtakes a frame.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable

from swarmd.protocols.errors import SwarmdError

WAITING = 8
"""Jobs that may wait; the stage waits with the next one."""

Job = Callable[[], None]


class Departures:
    """Does jobs one after another: at once, or from ``thread`` on in a thread of its own.

    The first job that fails is the last: its error goes to ``failed``, and the jobs after it are dropped.
    """

    def __init__(self, failed: Callable[[Exception], None]) -> None:
        self._failed = failed
        self._jobs: queue.Queue[Job | None] | None = None
        self._broken = False

    def put(self, job: Job) -> None:
        """Do a job, or have it done. Without a thread, its errors are raised here."""
        if self._jobs is None:
            job()
        else:
            self._jobs.put(job)

    def thread(self) -> None:
        """From now on a thread does the jobs; a second call changes nothing but that jobs are done again."""
        self._broken = False
        if self._jobs is None:
            self._jobs = queue.Queue(WAITING)
            threading.Thread(target=self._work, args=(self._jobs,), name="departures", daemon=True).start()

    def close(self) -> None:
        """End the thread once it has done what waits."""
        if self._jobs is not None:
            self._jobs.put(None)

    def _work(self, jobs: queue.Queue[Job | None]) -> None:
        while (job := jobs.get()) is not None:
            if self._broken:
                continue
            try:
                job()
            except (SwarmdError, RuntimeError, MemoryError, OSError) as error:
                self._broken = True
                self._failed(error)
