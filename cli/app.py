"""The tree of commands. Their bodies import what they need, so that a start costs only the tree."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarmd import __version__
from swarmd.cli import (
    earn_commands,
    job_commands,
    key_commands,
    model_commands,
    network_commands,
    node_commands,
    simulate_commands,
    tool_commands,
    wallet_commands,
)
from swarmd.cli.output import line
from swarmd.cli.session import Session

_EVERYWHERE = "Everywhere: --state-dir DIR, --no-color, --debug. Every command that reads takes --json."

app = typer.Typer(
    name="swarmd",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=_EVERYWHERE,
)


def _print_version(wanted: bool) -> None:
    if wanted:
        line(f"swarmd {__version__}")
        raise typer.Exit


@app.callback()
def root(
    ctx: typer.Context,
    state_dir: Annotated[
        Path | None,
        typer.Option("--state-dir", metavar="DIR", help="The node's folder: key, settings, runs."),
    ] = None,
    no_color: Annotated[bool, typer.Option("--no-color", help="Plain text; NO_COLOR=1 does the same.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show the traceback of a failure.")] = False,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Train one model together on many home GPUs.

    Start a node with `swarmd up`, or see everything at once on this machine with `swarmd demo`.
    """
    ctx.obj = Session(state_dir)


app.command(rich_help_panel="Start here")(model_commands.demo)
node_commands.add_to(app)
network_commands.add_to(app)
key_commands.add_to(app)
job_commands.add_to(app)
simulate_commands.add_to(app)
model_commands.add_to(app)
wallet_commands.add_to(app)
earn_commands.add_to(app)
tool_commands.add_to(app)
