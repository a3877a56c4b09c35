"""Contenders that share a machine by turns of some seconds: all meet the same disturbances, none the others.

A contender whose turn is over is stopped (SIGSTOP) where it is. Its clock counts its own turns only.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from itertools import pairwise, zip_longest
from pathlib import Path

import psutil  # type: ignore[import-untyped]

START_SECONDS = 300.0


@dataclass(slots=True)
class Contender:
    """Processes that work on steps. ``ends`` has the ``time.monotonic`` of each step's end, per line of work."""

    name: str
    processes: Callable[[], list[psutil.Process]]
    ends: list[list[float]]
    turns: list[tuple[float, float]] = field(default_factory=list)
    failure: str = ""
    """Why it works no more."""

    def begin(self) -> None:
        """Wait until every line of work has done a step, then stop. Raises RuntimeError as ``pace`` does."""
        self._wait(1, START_SECONDS)
        self.signal(signal.SIGSTOP)

    def turn(self, seconds: float) -> None:
        """Work for so long."""
        began = time.monotonic()
        self.signal(signal.SIGCONT)
        time.sleep(seconds)
        self.signal(signal.SIGSTOP)
        self.turns.append((began, time.monotonic()))

    def pace(self, warm: int, steps: int, patience: float) -> float:
        """Steps per second over the next whole ones, of all lines of work together, undisturbed.

        The first ``warm`` do not count. Raises RuntimeError if it fails, or takes over ``patience`` seconds a step.
        """
        self._wait(warm + steps, patience * (warm + steps))
        return sum(steps / (ends[warm + steps - 1] - ends[warm - 1]) for ends in self.ends)

    def _wait(self, steps: int, patience: float) -> None:
        deadline = time.monotonic() + patience
        while (done := min(map(len, self.ends))) < steps:
            if self.failure or time.monotonic() > deadline:
                raise RuntimeError(f"{self.name} did {done} steps: {self.failure or f'no more in {patience:.0f} s'}")
            time.sleep(0.05)

    def signal(self, number: signal.Signals) -> None:
        """Send one to all processes."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def steps(self, first: int, end: int) -> float:
        """Steps done per second in turns ``first`` to ``end - 1``, of all lines of work together."""
        begin, until = (sum(b - a for a, b in self.turns[:turn]) for turn in (first, end))
        return sum(self._done(ends, until) - self._done(ends, begin) for ends in self.ends) / (until - begin)

    def _done(self, ends: list[float], at: float) -> float:
        """Steps at a time of our own clock; between two ends, and after the last, the part that the pace gives."""
        own = [self._own(end) for end in ends]
        for number, (before, after) in enumerate(pairwise(own)):
            if at < after:
                return number + (at - before) / (after - before)
        return len(own) - 1 + (at - own[-1]) / ((own[-1] - own[0]) / (len(own) - 1)) if len(own) > 1 else 0.0

    def _own(self, at: float) -> float:
        """Our own clock at a time."""
        return sum(min(b, at) - a for a, b in self.turns if a < at)


@contextmanager
def yardstick(
    name: str, arguments: list[list[str]], *, lines: int, root: Path, enter: Sequence[Sequence[str]] = ()
) -> Iterator[Contender]:
    """``benchmarks.yardsticks``, one process for each list of arguments; the last ``lines`` of them count.

    ``enter``: for each process, what to put before its command.
    """
    running = [
        subprocess.Popen([*way, sys.executable, "-m", "benchmarks.yardsticks", *each], stdout=subprocess.PIPE,
                         text=True, cwd=root)
        for each, way in zip_longest(arguments, enter, fillvalue=())
    ]  # fmt: skip
    ends: list[list[float]] = [[] for _ in running]
    for process, mine in zip(running, ends, strict=True):
        threading.Thread(target=_listen, args=(process, mine), daemon=True).start()
    try:
        yield Contender(name, lambda: [psutil.Process(process.pid) for process in running], ends[-lines:])
    finally:
        for process in running:
            process.kill()
            process.wait()


def _listen(process: subprocess.Popen[str], ends: list[float]) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        ends.append(float(line))
