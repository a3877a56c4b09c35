"""The ways a training run starts: through the daemon, or in one process here."""

from __future__ import annotations

from pathlib import Path

from swarmd.cli import spawn
from swarmd.cli.session import Session
from swarmd.paths import Paths
from swarmd.protocols.control import FINAL_STATES
from swarmd.protocols.errors import JobFileError, NotFound, UsageError

MAX_JOB_FILE_BYTES = 1 << 20
SUBMIT_SECONDS = 300.0
"""The daemon hashes the data before it answers."""


def submit(session: Session, job: Path) -> str:
    """Check a job file and hand it to the daemon; the run id.

    Raises:
        JobFileError: with every mistake; found without a daemon.
        NotFound: there is no such file.
    """
    check(job)
    return str(session.ask("submit", path=str(job.resolve()), wait=SUBMIT_SECONDS)["run"])


def check(job: Path) -> None:
    """Parse a job file. Raises JobFileError, NotFound, UsageError."""
    from swarmd.protocols.jobfile import parse_job

    try:
        size = job.stat().st_size
        if job.is_dir() or size > MAX_JOB_FILE_BYTES:
            raise UsageError(f"{job} is not a job file", hint="a job file is a small TOML file; see docs/job-file.md")
        text = job.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise NotFound(f"there is no file {job}", hint="swarmd train JOB.toml; examples/ holds some") from None
    except UnicodeDecodeError as error:
        raise JobFileError(str(job), (f"not UTF-8 text: {error.reason} at byte {error.start}",)) from error
    parse_job(text, str(job))


def train_here(job: Path | None, out: Path | None, as_json: bool) -> int:
    """Become the plain single-process loop. Returns only by an error."""
    if job is None:
        raise UsageError(
            "--resume goes on with a run of the daemon; --local has none",
            hint="swarmd train JOB --local --out DIR",
        )
    if out is None:
        raise UsageError("--local needs a folder for the result", hint=f"swarmd train {job} --local --out DIR")
    check(job)
    spawn.become("swarmd.train", ["local", str(job), *spawn.flags({"--out": out, "--json": as_json})])


def watch(paths: Paths, run: str) -> int:
    """Open the dashboard on a run. As ``--wait`` if the run is over when it closes; else 0."""
    from swarmd.cli.dashboard import show
    from swarmd.cli.wait import exit_code

    last = show(paths, run)
    return exit_code(last) if last is not None and last.state in FINAL_STATES else 0


def after_submit(run: str) -> str:
    """What to type after a run was launched."""
    name = run[:8]
    return "\n".join(
        (
            "",
            f"  swarmd top {name}          watch it live",
            f"  swarmd jobs logs -f {name} read along",
            f"  swarmd jobs stop {name}    stop it",
        )
    )
