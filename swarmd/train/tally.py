"""What a stage's process has done so far: counts and times, over all plans that it had a place in."""

from __future__ import annotations

import time
from dataclasses import dataclass

from swarmd.compute.messages import Work


@dataclass(slots=True)
class Tally:
    """Running totals; times in nanoseconds."""

    forwards: int = 0
    forward_ns: int = 0
    backward_ns: int = 0
    busy_ns: int = 0
    commits: int = 0
    commit_ns: int = 0

    def forward(self, seconds: float) -> None:
        """A forward pass took so long."""
        self.forwards += 1
        self.forward_ns += int(seconds * 1e9)

    def backward(self, seconds: float) -> None:
        """A backward pass, or the part of it that was put off, took so long."""
        self.backward_ns += int(seconds * 1e9)

    def commit(self, nanoseconds: int) -> None:
        """An optimizer step took so long."""
        self.commits += 1
        self.commit_ns += nanoseconds

    def work(self) -> Work:
        """The totals, and means of one micro-batch."""
        count = max(1, self.forwards)
        return Work(
            self.forwards,
            self.busy_ns,
            self.forward_ns // count,
            self.backward_ns // count,
            time.process_time_ns(),
            self.commit_ns // max(1, self.commits),
        )
