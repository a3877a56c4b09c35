"""``swarmd``: the entry, and the one place where a failure becomes words and an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from types import TracebackType

from typer import Abort
from typer.exceptions import TyperException

from swarmd.cli.output import INTERRUPTED, naming, report, words
from swarmd.protocols.errors import StateError, SwarmdError, UsageError

_ANYWHERE = ("--debug", "--no-color")
"""Options that hold for every command and may stand after it."""
_ANYWHERE_WITH_VALUE = "--state-dir"
_BEHIND = "--json"
"""An option of the commands themselves, which may as well stand before their names."""


_NUMBER = re.compile(r"-\d.*")
"""Looks like an option, and is an amount below zero."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code. See ``docs/cli.md``."""
    given = hoist(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in _options(given)
    debug = "--debug" in _options(given)
    if "--no-color" in _options(given):
        os.environ["NO_COLOR"] = "1"
    if not debug:
        sys.excepthook = _crash
    with naming(_state_dir(given)):
        return _told(given, as_json=as_json, debug=debug)


def _told(given: list[str], *, as_json: bool, debug: bool) -> int:
    try:
        return _run(given)
    except BrokenPipeError:
        return _silence()
    except (SwarmdError, TyperException, OSError) as error:
        if debug:
            raise
        return _tell(_explained(error, given), as_json)
    except (KeyboardInterrupt, Abort):
        return INTERRUPTED


def hoist(arguments: Sequence[str]) -> list[str]:
    """Move the options that hold for every command to the front, and ``--json`` behind its command, from anywhere."""
    front: list[str] = []
    rest: list[str] = []
    behind: list[str] = []
    words_left = iter(_options(arguments))
    for word in words_left:
        if word == _ANYWHERE_WITH_VALUE:
            front += [word, *[value for value in [next(words_left, None)] if value is not None]]
        elif word in _ANYWHERE or word.startswith(f"{_ANYWHERE_WITH_VALUE}="):
            front.append(word)
        else:
            (behind if word == _BEHIND else rest).append(word)
    return front + rest + behind[:1] + list(arguments[len(_options(arguments)) :])


def _state_dir(hoisted: Sequence[str]) -> Path | None:
    """The folder that ``hoist`` moved to the front, the last one if there are several."""
    found: Path | None = None
    for word, after in pairwise((*_options(hoisted), "")):
        if word == _ANYWHERE_WITH_VALUE and after:
            found = Path(after)
        elif word.startswith(f"{_ANYWHERE_WITH_VALUE}="):
            found = Path(word.partition("=")[2])
    return found


def _options(arguments: Sequence[str]) -> list[str]:
    """The part before ``--``, where a word that begins with a dash is an option."""
    return list(arguments[: arguments.index("--")] if "--" in arguments else arguments)


def _run(arguments: list[str]) -> int:
    import typer.main

    from swarmd.cli.app import app
    from swarmd.cli.plain_help import without_placeholders

    code = without_placeholders(typer.main.get_command(app)).main(
        args=arguments, prog_name="swarmd", standalone_mode=False
    )
    return code if isinstance(code, int) else 0


def _explained(error: SwarmdError | TyperException | OSError, arguments: Sequence[str]) -> SwarmdError:
    if isinstance(error, SwarmdError):
        return error
    if isinstance(error, OSError):
        place = f"{error.filename}: " if error.filename else ""
        return StateError(f"{place}{error.strerror or error}", hint="swarmd doctor checks this machine")
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "swarmd"
    option = str(getattr(error, "option_name", ""))
    if _NUMBER.fullmatch(option):  # of -12.5 only its first digit is named
        given = next((word for word in arguments if word.startswith(option)), option)
        return UsageError(f"{given[:40]} is below zero", hint="an amount is positive: write it like 12 or 0.25")
    message = error.format_message() if hasattr(error, "format_message") else str(error)
    return UsageError(message, hint=f"{command} --help")


def _tell(error: SwarmdError, as_json: bool) -> int:
    """Without a message, help was printed already: a group of commands was named alone."""
    return report(error, as_json=as_json) if error.message else error.exit_code


def _silence() -> int:
    """Whoever read our output has gone: end without words, and keep the interpreter's last flush quiet."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _crash(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
    words(f"swarmd: a fault in swarmd itself: {kind.__name__}: {error}")
    words("  next: run the same command with --debug, and report what it prints")
