"""``earn`` and ``prices``: what this node brings, what it costs, and what others ask."""

from __future__ import annotations

from typing import Annotated

import typer

from swarmd.cli.output import console, emit, line, words
from swarmd.cli.session import session_of

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout; amounts in micro-credits.")]
_CREDITS = "Credits"


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.command(rich_help_panel=_CREDITS)(earn)
    app.command(rich_help_panel=_CREDITS)(prices)


def earn(ctx: typer.Context, json: Json = False) -> None:
    """What this node does now, what that brings, and what it costs in energy."""
    result = session_of(ctx).ask("earn")
    if json:
        return emit(result)
    from swarmd.cli import answers, earn_report

    console().print(earn_report.earn(answers.earn(result)))


def prices(
    ctx: typer.Context,
    path: Annotated[bool, typer.Option("--path", help="Where your own list belongs.")] = False,
    json: Json = False,
) -> None:
    """What others say that computing costs; none of it measured here."""
    from dataclasses import asdict

    from swarmd.cli.prices import FILE, LABEL, load_prices, price_file, price_table

    state_dir = session_of(ctx).paths.state_dir
    if path:
        return emit({"path": str(state_dir / FILE)}) if json else line(str(state_dir / FILE))
    file = price_file(state_dir)
    listed = load_prices(file)
    if json:
        return emit({"path": str(file), "label": LABEL, "prices": [asdict(price) for price in listed]})
    console().print(price_table(listed))
    words(f"{LABEL}\n  from {file}\n  your own list: cp {file} {state_dir / FILE}")
