"""``top``, ``doctor``, ``config``: look at a run, at this machine, at the settings."""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

from swarmd.cli.job_commands import complete_run
from swarmd.cli.output import console, emit, is_live, line, words
from swarmd.cli.session import session_of

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]

config = typer.Typer(name="config", no_args_is_help=True, help="The settings, and where each came from.")


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.command(rich_help_panel="Runs")(top)
    app.command(rich_help_panel="Tools")(doctor)
    app.add_typer(config, rich_help_panel="Tools")


def top(
    ctx: typer.Context,
    run: Annotated[
        str | None,
        typer.Argument(metavar="RUN", help="A run id or its beginning; else the newest.", autocompletion=complete_run),
    ] = None,
    every: Annotated[float, typer.Option(min=0.1, max=3600.0, help="Seconds between two updates.")] = 0.5,
    once: Annotated[bool, typer.Option("--once", help="Print one frame.")] = False,
    json: Json = False,
) -> None:
    """Watch a run live. Without a terminal: one line per update. It only watches."""
    paths = session_of(ctx).paths
    if json or (not once and not (is_live(sys.stdout) and sys.stdin.isatty())):
        from swarmd.cli.follow import follow

        return follow(paths, run, every=every, once=once, as_json=json)
    from swarmd.cli import dashboard

    if once:
        return dashboard.print_once(paths, run)
    dashboard.show(paths, run, every=every)


def doctor(ctx: typer.Context, json: Json = False) -> int:
    """Check this machine: every line ok, warn or fail, with what cures it."""
    from swarmd.cli.doctor import run

    return run(session_of(ctx).paths, as_json=json)


@config.command("show")
def show_config(
    ctx: typer.Context,
    origin: Annotated[bool, typer.Option("--origin", help="Where each value came from.")] = False,
    json: Json = False,
) -> None:
    """Every setting: of the running daemon, else what the next one would use."""
    from swarmd.cli import settings, tables

    rows, running = settings.effective(session_of(ctx).paths, os.environ)
    if json:
        return emit({"running": running, "settings": rows})
    console().print(tables.settings(rows, origin=origin))
    if not running:
        words("no daemon is running: these are the settings that the next swarmd up would use")


@config.command("path")
def config_path(ctx: typer.Context, json: Json = False) -> None:
    """Where the settings file is."""
    place = session_of(ctx).paths.config
    if json:
        return emit({"path": str(place), "exists": place.exists()})
    line(str(place))


@config.command("check")
def check_config(ctx: typer.Context, json: Json = False) -> None:
    """Read the settings file and the environment, and say what is wrong. Exit 2 if something is."""
    from swarmd.cli import settings

    paths = session_of(ctx).paths
    settings.local(paths, os.environ)
    if json:
        return emit({"path": str(paths.config), "exists": paths.config.exists(), "ok": True})
    words(f"{paths.config}: " + ("ok" if paths.config.exists() else "no such file, so every setting has its default"))
