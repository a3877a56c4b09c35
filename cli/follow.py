"""``top`` without a terminal: a plain line, or a JSON object, per update."""

from __future__ import annotations

from swarmd.cli import answers, report, units
from swarmd.cli.client import CALL_SECONDS, stream
from swarmd.cli.output import emit, line
from swarmd.cli.pacing import paced
from swarmd.paths import Paths
from swarmd.protocols.control import Snapshot
from swarmd.protocols.control import as_json as object_of

DEFAULT_IDLE = 60.0


def follow(paths: Paths, run: str | None, *, every: float, once: bool, as_json: bool) -> None:
    """Print an update every ``every`` seconds until the run's last state, or one if ``once``."""
    idle = CALL_SECONDS if once else max(DEFAULT_IDLE, 3 * every)
    results = stream(paths, "watch", idle=idle, run=run, every=every)
    for snapshot in paced(map(answers.snapshot, results), every):
        if as_json:
            emit(object_of(snapshot))
        else:
            line(_sentence(snapshot))
        if once:
            return


def _sentence(snapshot: Snapshot) -> str:
    when = units.clock(snapshot.now)
    if snapshot.run is None:
        idle = snapshot.node.idle_reason or "no run"
        return f"{when} {units.counted(snapshot.node.peers, 'peer')}, {idle}"
    return f"{when} {snapshot.run.name} {units.short_id(snapshot.run.run)} {report.progress_line(snapshot.run)}"
