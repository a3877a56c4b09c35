"""What a command prints: data on stdout, words on stderr, and one shape for every failure."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from swarmd.protocols.errors import JobFileError, SwarmdError

if TYPE_CHECKING:
    from rich.console import Console

JSON_VERSION = 1
INTERRUPTED = 130
PIPE_COLUMNS = 200

EXIT_CODES = {
    0: "ok",
    1: "failed",
    2: "wrong usage, job file or setting",
    3: "the daemon is not reachable",
    4: "the job failed or was stopped",
    5: "refused",
    6: "not found",
    7: "timed out",
    INTERRUPTED: "interrupted",
}


_OF_A_NODE = re.compile(
    r"\bswarmd (?=(?:up|down|status|id|peers|gpus|train|jobs|top|sample|eval|doctor|config|network|key|wallet|earn"
    r"|prices|ledger)\b"
    r"(?! --bootstrap| --join)(?!.* --help))"
)
_CLAUSE = re.compile(r"[^;\n]+")
_ELSEWHERE = re.compile(r"\bon (?:another|the other|that|the operator's|the receiver's) (?:machine|node)\b")
"""What a clause says of a command that is for another machine, which has a folder of its own."""
_chosen_folder: ContextVar[str] = ContextVar("_chosen_folder", default="")


@contextmanager
def naming(state_dir: Path | None) -> Iterator[None]:
    """While inside, commands in words and hints name this state folder, if it is not the usual one."""
    from swarmd.paths import find_paths

    chosen = find_paths(state_dir, os.environ).state_dir
    usual = find_paths(None, os.environ).state_dir
    before = _chosen_folder.set("" if chosen == usual else str(chosen))
    try:
        yield
    finally:
        _chosen_folder.reset(before)


def named(text: str) -> str:
    """A text whose commands can be pasted: each with the state folder that this one was given.

    A command in a clause that begins "on that node" is for another machine, and stays as it is.
    """
    folder = _chosen_folder.get()
    return _CLAUSE.sub(lambda clause: _placed(clause[0], folder), text) if folder else text


def _placed(clause: str, folder: str) -> str:
    if _ELSEWHERE.search(clause):
        return clause
    return _OF_A_NODE.sub(lambda _: f"swarmd --state-dir {shlex.quote(folder)} ", clause)


def is_live(stream: IO[str]) -> bool:
    """Whether the stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM") not in ("dumb", "unknown")


def console(stream: IO[str] | None = None) -> Console:
    """A rich console on stdout (or the given stream) that sends escape codes to terminals only."""
    from swarmd.cli.terminal import PipeConsole

    target = stream or sys.stdout
    plain = not is_live(target) or bool(os.environ.get("NO_COLOR"))
    return PipeConsole(
        file=target,
        force_terminal=is_live(target),
        color_system=None if plain else "auto",
        highlight=False,
        markup=False,
        emoji=False,
        width=None if is_live(target) else _width(),
    )


def _width() -> int:
    """Columns of a text that no terminal bounds: wide enough that nothing is cut."""
    given = os.environ.get("COLUMNS", "")
    return int(given) if given.isdecimal() and int(given) else PIPE_COLUMNS


def line(text: str) -> None:
    """One line of data."""
    print(text, flush=True)


def words(text: str) -> None:
    """A line for the person, not for the pipe."""
    print(named(text), file=sys.stderr, flush=True)


def emit(result: dict[str, Any]) -> None:
    """One versioned JSON object on a line of stdout."""
    print(json.dumps({"v": JSON_VERSION, **result}, ensure_ascii=False), flush=True)


def report(error: SwarmdError, *, as_json: bool) -> int:
    """Say what failed and what to do next; the exit code."""
    if as_json:
        emit({"error": _fields(error)})
    else:
        words(_sentence(error))
    return error.exit_code


def _fields(error: SwarmdError) -> dict[str, Any]:
    fields = {
        "code": error.code,
        "message": error.message,
        "hint": named(error.hint),
        "exit_code": error.exit_code,
    }
    return {**fields, "problems": list(error.problems)} if isinstance(error, JobFileError) else fields


def _sentence(error: SwarmdError) -> str:
    if isinstance(error, JobFileError):
        count = len(error.problems)
        head = f"the job file has {count} mistakes:" if count > 1 else "the job file has a mistake:"
        text = "\n".join((head, *(f"  - {problem}" for problem in error.problems)))
    else:
        text = error.message
    mark, hint = _marks()
    return f"{mark} {text}" + (f"\n{hint} {error.hint}" if error.hint else "")


def _marks() -> tuple[str, str]:
    if not is_live(sys.stderr) or os.environ.get("NO_COLOR"):
        return "swarmd:", "  next:"
    return "\x1b[1;31mswarmd:\x1b[0m", "  \x1b[36mnext:\x1b[0m"
