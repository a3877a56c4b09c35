"""Not more updates than were asked for: the daemon sends one at every change."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from swarmd.protocols.control import Snapshot


def paced(snapshots: Iterable[Snapshot], every: float) -> Iterator[Snapshot]:
    """The first snapshot, each change of the run or its state, and else one in ``every`` seconds."""
    due, before = float("-inf"), None
    for snapshot in snapshots:
        now = (snapshot.run.run, snapshot.run.state) if snapshot.run else None
        if now != before or snapshot.now >= due:
            due, before = snapshot.now + every, now
            yield snapshot
