"""The dashboard's source: a watch stream that comes back when the daemon does."""

from __future__ import annotations

import time

from swarmd.cli import answers
from swarmd.cli.client import Channel
from swarmd.paths import Paths
from swarmd.protocols.control import FINAL_STATES, Snapshot
from swarmd.protocols.errors import DaemonUnreachable, SwarmdError

RETRY_SECONDS = 2.0
STALE_SECONDS = 10.0


class Feed:
    """The newest snapshot, and what is wrong when there is none."""

    def __init__(self, paths: Paths, run: str | None, every: float) -> None:
        """Connects at the first ``keep_up``."""
        self._paths, self._run, self._every = paths, run, every
        self._channel: Channel | None = None
        self._retry_at = self._heard_at = time.monotonic()
        self._lost = False
        self.snapshot: Snapshot | None = None

    @property
    def channel(self) -> Channel | None:
        """The connection to wait on, while there is one."""
        return self._channel

    @property
    def ended(self) -> bool:
        """The run has reached its last state: no more will come."""
        return self._run is not None and self._is_final

    @property
    def _is_final(self) -> bool:
        run = self.snapshot.run if self.snapshot else None
        return run is not None and run.state in FINAL_STATES

    @property
    def notice(self) -> str:
        """What the person should know about the picture's age."""
        if self._lost:
            return "the daemon has gone; waiting for it (swarmd up)"
        silent = time.monotonic() - self._heard_at
        if self._channel and self.snapshot and silent > max(STALE_SECONDS, 3 * self._every):
            return f"no news for {silent:.0f} s"
        return ""

    def keep_up(self) -> None:
        """Connect when there is no connection and it is time to try. A first failure is raised."""
        if self._channel is not None or self.ended or time.monotonic() < self._retry_at:
            return
        try:
            self._channel = Channel(self._paths, "watch", {"run": self._run, "every": self._every})
            self._lost, self._heard_at = False, time.monotonic()
        except DaemonUnreachable:
            if self.snapshot is None:
                raise
            self._lost, self._retry_at = True, time.monotonic() + RETRY_SECONDS

    def receive(self) -> bool:
        """Read what is there. True when the picture has changed."""
        if self._channel is None:
            return False
        try:
            results = self._channel.receive(1.0)
        except SwarmdError:
            self.close()
            raise
        if results:
            self._heard_at = time.monotonic()
            self.snapshot = answers.snapshot(results[-1])
        if self._channel.ended:
            self.close()
            self._retry_at = time.monotonic() + (RETRY_SECONDS if self._is_final else 0.0)
        return bool(results) or self._channel is None

    def close(self) -> None:
        """Hang up."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None
