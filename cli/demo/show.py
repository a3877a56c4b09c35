"""How the demo shows itself: a live dashboard on a terminal, plain lines elsewhere, little with --json."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from swarmd.cli import answers, report
from swarmd.cli.client import stream
from swarmd.cli.output import is_live, words
from swarmd.paths import Paths
from swarmd.protocols.control import FINAL_STATES, RunView
from swarmd.protocols.errors import DaemonUnreachable

IDLE_SECONDS = 120.0
EVERY_SECONDS = 2.0
"""Plain lines come at most this often ..."""
PROGRESS_SECONDS = 10.0
"""... and those of a single step, where there is no terminal."""


@dataclass(frozen=True, slots=True)
class Show:
    """Where words go, and whether a dashboard may be drawn."""

    live: bool

    def say(self, text: str) -> None:
        """A line of what happens now."""
        words(text)

    def follow(self, paths: Paths, run: str) -> RunView:
        """Show a run until it is over; its last view. Raises DaemonUnreachable."""
        if self.live:
            from swarmd.cli.dashboard import show

            show(paths, run, until_over=True)
        return _follow(paths, run, quiet=self.live)


@dataclass(slots=True)
class Progress:
    """Where a long step stands: in place on a terminal, elsewhere a line now and then."""

    clock: Callable[[], float] = time.monotonic
    _due: float = 0.0

    def show(self, text: str) -> None:
        """The newest line; an empty one clears it."""
        if is_live(sys.stderr):
            replace_line(text)
        elif text and self.clock() >= self._due:
            self._due = self.clock() + PROGRESS_SECONDS
            words(text)


def replace_line(text: str) -> None:
    """Show a line of progress in place of the last one; nothing without a terminal."""
    if is_live(sys.stderr):
        sys.stderr.write(f"\r\x1b[K{text[:100]}")
        sys.stderr.flush()


def show_for(*, as_json: bool) -> Show:
    """The way this terminal allows."""
    return Show(live=not as_json and is_live(sys.stdout) and sys.stdin.isatty())


def _follow(paths: Paths, run: str, *, quiet: bool) -> RunView:
    seen = ""
    for result in stream(paths, "watch", idle=IDLE_SECONDS, run=run, every=EVERY_SECONDS):
        view = answers.snapshot(result).run
        if view is None:
            continue
        text = report.progress_line(view)
        if text != seen and not quiet:
            words(text)
        seen = text
        if view.state in FINAL_STATES:
            return view
    raise DaemonUnreachable("the submitter's daemon went away before the run's end")
