"""``simulate``: what a job would do on peers that a file describes. Asks no daemon and starts nothing."""

from __future__ import annotations

import json as json_text
import subprocess
from pathlib import Path
from typing import Annotated, Any

import typer

from swarmd.cli.output import console, emit
from swarmd.cli.spawn import module_command
from swarmd.protocols.errors import StateError, TimedOut, by_code

SECONDS = 300.0


def add_to(app: typer.Typer) -> None:
    """Hang this command into the tree."""
    app.command(rich_help_panel="Runs")(simulate)


def simulate(
    job: Annotated[Path, typer.Argument(metavar="JOB.toml", help="The job file.")],
    peers: Annotated[
        Path, typer.Option("--peers", metavar="FILE", help="The peers: a TOML file with a table named peer for each.")
    ],
    replicas: Annotated[bool, typer.Option("--replicas", help="Let several peers share a stage.")] = False,
    json: Annotated[bool, typer.Option("--json", help="JSON on stdout.")] = False,
) -> None:
    """What a job would do on described peers: the plan, its tokens a second, and what bounds it."""
    from swarmd.cli.launch import check

    check(job)
    result = _ask([str(job), f"--peers={peers}", *(["--replicas"] if replicas else [])])
    if json:
        return emit(result)
    from swarmd.cli import simulating

    console().print(simulating.report(result))


def _ask(arguments: list[str]) -> dict[str, Any]:
    """What a process of the daemon's side answers. Raises the error that it names."""
    command = module_command("swarmd.simulate", arguments)
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"the simulation took over {SECONDS:g} s", hint="describe fewer peers") from None
    answer = json_text.loads(done.stdout) if done.stdout else {}
    if error := answer.get("error"):
        raise by_code(*(str(error[name]) for name in ("code", "message", "hint")))
    if "result" not in answer:
        raise StateError(f"the simulation gave no answer (exit code {done.returncode})", hint="swarmd doctor")
    result: dict[str, Any] = answer["result"]
    return result
