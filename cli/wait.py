"""``train --wait``: follow a run to its end, as a bar, as plain lines, or as JSON lines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, TypeAlias

from swarmd.cli import answers, report
from swarmd.cli.client import stream
from swarmd.cli.output import console, emit, is_live, line, words
from swarmd.cli.pacing import paced
from swarmd.cli.palette import ACCENT, DIM, GOOD
from swarmd.paths import Paths
from swarmd.protocols.control import FINAL_STATES, RunView
from swarmd.protocols.control import as_json as object_of
from swarmd.protocols.errors import DaemonUnreachable, Refused, RunFailed

if TYPE_CHECKING:
    from rich.progress import Progress

Show: TypeAlias = Callable[[RunView], None]

EVERY_SECONDS = 1.0
IDLE_SECONDS = 60.0
_LINE_SHARE = 20
"""Without a terminal, a line at every change of state and about this many in all."""


def wait_for(paths: Paths, run: str, *, as_json: bool) -> int:
    """Show a run until its final state: 0 done, 4 failed or stopped, 5 refused by too many, 130 interrupted.

    Raises DaemonUnreachable where the daemon goes first.
    """
    if as_json:
        emit({"event": "submitted", "run": run})
    else:
        line(run)
    try:
        last = _follow(paths, run, as_json)
    except KeyboardInterrupt:
        words("\nthe run goes on")
        words(f"  swarmd top {run[:8]}          watch it")
        words(f"  swarmd jobs stop {run[:8]}    stop it")
        raise
    return _conclude(last, as_json)


def _follow(paths: Paths, run: str, as_json: bool) -> RunView:
    with _shower(as_json) as show:
        results = stream(paths, "watch", idle=IDLE_SECONDS, run=run, every=EVERY_SECONDS)
        for snapshot in paced(map(answers.snapshot, results), EVERY_SECONDS):
            if snapshot.run is None:
                continue
            show(snapshot.run)
            if snapshot.run.state in FINAL_STATES:
                return snapshot.run
    raise DaemonUnreachable(
        "the daemon went away before the run's end",
        hint=f"start it again with: swarmd up; it resumes the run: swarmd top {run[:8]}",
    )


def _conclude(view: RunView, as_json: bool) -> int:
    if as_json:
        emit({"event": "final", "run": view.run, "view": object_of(view)})
    else:
        console(sys.stderr).print(report.summary(view))
        words(report.what_next(view))
    return exit_code(view)


def exit_code(view: RunView) -> int:
    """What a run's last state means to a script."""
    if view.state == "done":
        return 0
    return Refused.exit_code if view.code == Refused.code else RunFailed.exit_code


def _shower(as_json: bool) -> AbstractContextManager[Show]:
    if as_json:
        return nullcontext(_show_json)
    return _Bar() if is_live(sys.stderr) else nullcontext(_Lines().show)


def _show_json(view: RunView) -> None:
    fields = ("run", "state", "step", "steps", "loss", "tokens_per_s", "elapsed", "eta")
    emit({"event": "progress", **{name: getattr(view, name) for name in fields}})


class _Lines:
    """Plain lines: not more of them than somebody reading a log wants."""

    def __init__(self) -> None:
        self._seen: tuple[str, int] | None = None

    def show(self, view: RunView) -> None:
        now = view.state, view.step * _LINE_SHARE // max(view.steps, 1)
        if now != self._seen:
            self._seen = now
            words(report.progress_line(view))


class _Bar:
    """One bar on a terminal."""

    def __init__(self) -> None:
        self._progress = _progress()
        self._task = self._progress.add_task("preparing", total=None, figures="")

    def __enter__(self) -> Show:
        self._progress.start()
        return self.show

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, view: RunView) -> None:
        training = view.state == "training"
        figures = report.figures(view) if view.loss is not None else ""
        total = view.steps if training or view.step else None
        self._progress.update(
            self._task,
            description=view.state,
            total=total,
            completed=view.step,
            figures=figures,
            refresh=True,
        )


def _progress() -> Progress:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(style=ACCENT),
        TextColumn("{task.description}"),
        BarColumn(None, complete_style=ACCENT, finished_style=GOOD, pulse_style=DIM),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        console=console(sys.stderr),
        transient=True,
    )
