"""Every command that README.md and docs/cli.md show can be typed: the target is there, the flags parse."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.exceptions import TyperException

from swarmd.cli.app import app
from swarmd.cli.main import hoist

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
INLINE = re.findall(r"`((?:swarmd|make) [^`]+)`", README)
INDENTED = [line.strip() for line in README.splitlines() if line.startswith("    ")]
TARGETS = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def words_of(command: str) -> list[str]:
    """What a shell makes of a line; its comment is left out."""
    return shlex.split(command, comments=True)


def parse(words: list[str]) -> str:
    """Read a command's words as ``swarmd`` would, and run nothing; the subcommand's name."""
    command: Any = typer.main.get_command(app)
    context = command.make_context("swarmd", hoist(words))
    while hasattr(command, "commands"):
        name, command, rest = command.resolve_command(context, [*context._protected_args, *context.args])
        context = command.make_context(name, rest, parent=context)
    return str(context.command_path)


def test_the_readme_shows_commands_and_nothing_else_indented() -> None:
    assert len(INDENTED) >= 8
    assert {words_of(line)[0] for line in INDENTED} == {"make", "swarmd"}


@pytest.mark.parametrize("command", [line for line in (*INDENTED, *INLINE) if line.startswith("make ")])
def test_every_make_target_is_there(command: str) -> None:
    assert set(words_of(command)[1:]) <= TARGETS


@pytest.mark.parametrize("command", [line for line in (*INDENTED, *INLINE) if line.startswith("swarmd ")])
def test_every_command_parses(command: str) -> None:
    words = words_of(command)
    path = parse(words[1:])
    assert path.startswith("swarmd ")
    files = [word for word in words if word.startswith("examples/")]
    assert [file for file in files if not (ROOT / file).is_file()] == []


@pytest.mark.parametrize("command", ["swarmd upp", "swarmd up --acept network", "swarmd jobs show"])
def test_a_command_that_does_not_exist_is_found(command: str) -> None:
    with pytest.raises((TyperException, SystemExit)):
        parse(words_of(command)[1:])


def test_every_file_the_readme_points_to_is_there() -> None:
    links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", README)
    assert {"docs/settings.md", "docs/results.md", "docs/cli.md", "docs/job-file.md"} <= set(links)
    assert [link for link in links if not (ROOT / link).exists()] == []
