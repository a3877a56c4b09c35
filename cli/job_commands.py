"""``train`` and ``jobs``: launch a run, and look after it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from swarmd.cli.output import console, emit, line, words
from swarmd.cli.session import Session, session_of
from swarmd.protocols.errors import NotFound, UsageError

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]


def complete_run(ctx: typer.Context, incomplete: str) -> list[tuple[str, str]]:
    """Run ids for the shell's tab key; none when no daemon answers at once."""
    from swarmd.cli.client import call
    from swarmd.protocols.errors import SwarmdError

    try:
        jobs = call(session_of(ctx).paths, "jobs", wait=1.0)["jobs"]
    except (SwarmdError, KeyError):
        return []
    return [(job["run"][:8], f"{job['name']} {job['state']}") for job in jobs if job["run"].startswith(incomplete)]


Run = Annotated[str, typer.Argument(metavar="RUN", help="A run id or its beginning.", autocompletion=complete_run)]

jobs = typer.Typer(name="jobs", no_args_is_help=True, help="The runs of this node.")


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.command(rich_help_panel="Runs")(train)
    app.add_typer(jobs, rich_help_panel="Runs")


def train(
    ctx: typer.Context,
    job: Annotated[Path | None, typer.Argument(metavar="JOB.toml", help="The job file.", show_default=False)] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Stay until the run ends.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Open the dashboard on it.")] = False,
    local: Annotated[bool, typer.Option("--local", help="Train in one process here, without a daemon.")] = False,
    out: Annotated[Path | None, typer.Option(metavar="DIR", help="With --local: where the result goes.")] = None,
    force: Annotated[bool, typer.Option("--force", help="With --local: replace the model that DIR holds.")] = False,
    resume: Annotated[str | None, typer.Option(metavar="RUN", help="Go on with a failed or stopped run.")] = None,
    json: Json = False,
) -> int:
    """Launch a training run, or go on with one."""
    from swarmd.cli import launch

    if (job is None) == (resume is None):
        raise UsageError("name either a job file or --resume RUN", hint="swarmd train JOB.toml")
    if local:
        return launch.train_here(job, out, force=force, as_json=json)
    if out is not None:
        raise UsageError("--out goes with --local", hint="a run's result is copied with: swarmd jobs fetch RUN DIR")
    if force:
        raise UsageError("--force goes with --local", hint="every run of the daemon has a folder of its own")
    session = session_of(ctx)
    run, settled = launch.submit(session, job) if job else (str(session.ask("resume", run=resume)["run"]), ())
    if watch and sys.stdout.isatty() and not json:
        return launch.watch(session.paths, run)
    if wait or watch:
        from swarmd.cli.wait import wait_for

        return wait_for(session.paths, run, as_json=json)
    if json:
        emit({"run": run})
    else:
        line(run)
        words(launch.after_submit(run, settled))
    return 0


@jobs.command("ls")
def list_runs(ctx: typer.Context, json: Json = False) -> None:
    """All runs, newest first."""
    result = session_of(ctx).ask("jobs")
    if json:
        return emit(result)
    from swarmd.cli import answers, tables

    found, hosted = answers.runs(result), answers.hosted(result)
    if found:
        console().print(tables.runs(found))
    if hosted:
        words(("\n" if found else "") + "runs of others that this node works for:")
        console().print(tables.hosted(hosted))
    if found or hosted:
        return
    words("no runs yet\n  next: swarmd train JOB.toml")


@jobs.command("show")
def show_run(
    ctx: typer.Context,
    run: Run,
    invoice: Annotated[bool, typer.Option("--invoice", help="What it cost, line by line.")] = False,
    receipts: Annotated[
        bool, typer.Option("--receipts", help="Check every signature behind the invoice; 1 if one does not hold.")
    ] = False,
    json: Json = False,
) -> int:
    """One run: progress, losses, stages, files, what it costs. Of a run of others only what it paid this node."""
    from swarmd.cli import invoice as invoices

    session = session_of(ctx)
    if invoice or receipts:
        told = invoices.show(session, run, as_json=json, alone=not receipts) if invoice else 0
        return invoices.show_receipts(session, run, as_json=json) if receipts else told
    if json:
        emit(_ask_run(session, run))
        return 0
    try:
        result = _ask_run(session, run)
    except NotFound:  # of another's run this node knows what it paid
        return invoices.show(session, run, as_json=False)
    from swarmd.cli import answers, report

    view = answers.run(result)
    console().print(report.run(view))
    code = invoices.after_run(session, view)
    if view.state in ("failed", "stopped"):
        words(f"\n{report.what_next(view)}")
    return code


@jobs.command("estimate")
def estimate_run(
    ctx: typer.Context,
    job: Annotated[Path, typer.Argument(metavar="JOB.toml", help="The job file.")],
    json: Json = False,
) -> None:
    """What a job would cost with the peers that are here now; starts nothing."""
    from swarmd.cli import launch

    result = launch.estimate(session_of(ctx), job)
    if json:
        return emit(result)
    from swarmd.cli import estimating

    console().print(estimating.report(result))


@jobs.command("logs")
def show_logs(
    ctx: typer.Context,
    run: Run,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    json: Json = False,
) -> None:
    """What happened in a run, oldest first. With --json one object a line."""
    from swarmd.cli import answers, report
    from swarmd.cli.client import CALL_SECONDS, stream

    printer = console()
    for result in stream(session_of(ctx).paths, "logs", idle=None if follow else CALL_SECONDS, run=run, follow=follow):
        if json:
            emit(result)
        else:
            printer.print(report.event(answers.event(result)), soft_wrap=True)


@jobs.command("stop")
def stop_run(
    ctx: typer.Context,
    run: Run,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    json: Json = False,
) -> None:
    """Stop a run; what it has learnt is kept, and --resume goes on. It asks only on a terminal."""
    session = session_of(ctx)
    found = _ask_run(session, run)
    full = str(found["run"])
    question = f"stop {found['name']} ({full[:8]}) at step {found['step']} of {found['steps']}?"
    if not (yes or json) and sys.stdin.isatty() and not typer.confirm(question, err=True):
        return words("it goes on")
    session.ask("stop", run=full)
    if json:
        return emit({"run": full})
    words(f"stopping {full[:8]}\n  next: swarmd train --resume {full[:8]}")


@jobs.command("fetch")
def fetch_run(
    ctx: typer.Context,
    run: Run,
    to: Annotated[Path, typer.Argument(metavar="DIR", help="Made by this command.")],
    force: Annotated[bool, typer.Option("--force", help="Replace DIR.")] = False,
    json: Json = False,
) -> None:
    """Copy a run's trained model, checked against its hash."""
    from swarmd.cli import answers
    from swarmd.cli.fetch import fetch

    view = answers.run(_ask_run(session_of(ctx), run))
    files = fetch(view, to, force=force)
    if json:
        return emit({"run": view.run, "directory": str(to.resolve()), "files": files})
    line(str(to))
    words(f'{len(files)} files of {view.name} ({view.run[:8]})\n  next: swarmd sample {to} "Once upon a time"')


def _ask_run(session: Session, run: str) -> dict[str, Any]:
    return session.ask("job", run=run)
