"""The ways a training run starts: through the daemon, or in one process here."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from swarmd.cli import spawn
from swarmd.cli.session import Session
from swarmd.paths import Paths
from swarmd.protocols.control import FINAL_STATES
from swarmd.protocols.errors import NotFound, UsageError

MAX_JOB_FILE_BYTES = 1 << 20
MAX_LISTED = 1000
SUBMIT_SECONDS = 300.0
"""The daemon hashes the data before it answers."""


def submit(session: Session, job: Path) -> tuple[str, tuple[str, ...]]:
    """Check a job file and hand it to the daemon; the run id, and lines on its wire and on how its steps are cut.

    Raises:
        JobFileError: with every mistake; found without a daemon.
        NotFound: there is no such file.
    """
    check(job)
    answer = session.ask("submit", path=str(job.resolve()), wait=SUBMIT_SECONDS)
    return str(answer["run"]), tuple(str(answer[key]) for key in ("wire", "batch") if key in answer)


def estimate(session: Session, job: Path) -> dict[str, Any]:
    """What a job would cost, as the daemon's answer. Raises as ``submit``."""
    check(job, "swarmd jobs estimate")
    return session.ask("estimate", path=str(job.resolve()), wait=SUBMIT_SECONDS)


def check(job: Path, command: str = "swarmd train") -> None:
    """Parse a job file for a command. Raises JobFileError, NotFound, UsageError."""
    from swarmd.protocols.jobfile import decode_job, parse_job

    try:
        size = job.stat().st_size
        if job.is_dir() or size > MAX_JOB_FILE_BYTES:
            raise UsageError(f"{job} is not a job file", hint="a job file is a small TOML file; see docs/job-file.md")
        raw = job.read_bytes()
    except FileNotFoundError:
        raise NotFound(f"there is no file {job}", hint=f"{command} {_nearest(job)}") from None
    parse_job(decode_job(raw, str(job)), str(job))


def _nearest(job: Path) -> str:
    """A job file that is there and was perhaps meant."""
    try:
        there = sorted(str(each) for each in job.parent.glob("*.toml"))[:MAX_LISTED]
    except OSError:
        there = []
    found = get_close_matches(str(job), there, n=1, cutoff=0.5)
    return shlex.quote(found[0]) if found else "JOB.toml takes a job file; docs/job-file.md says how to write one"


def train_here(job: Path | None, out: Path | None, *, force: bool, as_json: bool) -> int:
    """Become the plain single-process loop. Raises UsageError, also for a folder that holds something."""
    if job is None:
        raise UsageError(
            "--resume goes on with a run of the daemon; --local has none",
            hint="swarmd train JOB --local --out DIR",
        )
    if out is None:
        raise UsageError("--local needs a folder for the result", hint=f"swarmd train {job} --local --out DIR")
    check(job)
    if not force and out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise UsageError(f"{out} exists already", hint="name another folder, or replace the model in it with --force")
    spawn.become("swarmd.train", ["local", str(job), *spawn.flags({"--out": out, "--force": force, "--json": as_json})])


def watch(paths: Paths, run: str) -> int:
    """Open the dashboard on a run. As ``--wait`` if the run is over when it closes; else 0."""
    from swarmd.cli.dashboard import show
    from swarmd.cli.wait import exit_code

    last = show(paths, run)
    return exit_code(last) if last is not None and last.state in FINAL_STATES else 0


def after_submit(run: str, settled: Sequence[str] = ()) -> str:
    """What to type after a run was launched, and what was chosen for it."""
    name = run[:8]
    return "\n".join(
        (
            *(f"  {words}" for words in settled),
            "",
            f"  swarmd top {name}          watch it live",
            f"  swarmd jobs logs -f {name} read along",
            f"  swarmd jobs stop {name}    stop it",
        )
    )
