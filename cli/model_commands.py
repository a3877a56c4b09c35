"""``sample``, ``eval``, ``demo``: commands that become a process with torch in it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from swarmd.cli import spawn
from swarmd.cli.job_commands import complete_run
from swarmd.cli.session import Session, session_of
from swarmd.protocols.errors import NotFound

Json = Annotated[bool, typer.Option("--json", help="JSON on stdout.")]
Model = Annotated[
    str,
    typer.Argument(
        metavar="RUN|DIR", help="A run id or its beginning, or a model's folder.", autocompletion=complete_run
    ),
]


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.command(rich_help_panel="Models")(sample)
    app.command("eval", rich_help_panel="Models")(evaluate)


def sample(
    ctx: typer.Context,
    model: Model,
    prompt: Annotated[str, typer.Argument(help="The text to go on with.")],
    tokens: Annotated[int, typer.Option(min=1, help="How many tokens to write.")] = 200,
    temperature: Annotated[float, typer.Option(min=0.0, help="0: always the likeliest token.")] = 0.8,
    top_k: Annotated[int, typer.Option(min=0, help="Choose among this many; 0: all.")] = 50,
    seed: Annotated[int, typer.Option(help="The same seed writes the same text.")] = 0,
    json: Json = False,
) -> None:
    """Let a trained model write."""
    options = {
        "--tokens": tokens,
        "--temperature": temperature,
        "--top-k": top_k,
        "--seed": seed,
        "--json": json,
    }
    folder = model_folder(session_of(ctx), model)
    spawn.become("swarmd.train", ["sample", *spawn.flags(options), "--", str(folder), prompt])


def evaluate(ctx: typer.Context, model: Model, json: Json = False) -> None:
    """Measure a model's held-out loss again."""
    folder = model_folder(session_of(ctx), model)
    spawn.become("swarmd.train", ["eval", *spawn.flags({"--json": json}), "--", str(folder)])


def demo(
    nodes: Annotated[int | None, typer.Option(min=1, help="Daemons to start.")] = None,
    steps: Annotated[int | None, typer.Option(min=1, help="Training steps.")] = None,
    keep: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Keep the model and the nodes' folders here.")
    ] = None,
    job: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Train this job instead of the built-in one.")
    ] = None,
    json: Json = False,
) -> None:
    """Real daemons on this machine train a small language model together."""
    spawn.become(
        "swarmd.cli.demo",
        spawn.flags({"--nodes": nodes, "--steps": steps, "--keep": keep, "--job": job, "--json": json}),
    )


def model_folder(session: Session, name: str) -> Path:
    """A model's folder, by its path or by the run that trained it. Raises NotFound."""
    folder = Path(name)
    if not folder.is_dir():
        folder = Path(str(session.ask("job", run=name)["directory"])) / "model"
    elif not (folder / "config.json").exists() and (folder / "model").is_dir():
        folder = folder / "model"
    if not folder.is_dir():
        raise NotFound(f"{name} has no model yet", hint=f"swarmd jobs show {name}")
    return folder.resolve()
