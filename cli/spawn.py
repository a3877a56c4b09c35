"""Becoming another process: the daemon's side, which may hold torch, libp2p and trio.

The command line replaces itself instead of waiting as a parent, so that exit codes and signals are the
child's own and none of the command line's memory stays.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from typing import NoReturn, TypeAlias

Flag: TypeAlias = str | int | float | bool | os.PathLike[str] | Sequence[str] | None


def module_command(module: str, arguments: Sequence[str]) -> list[str]:
    """How to run a module of ours. ``-P`` keeps a ``torch.py`` in the working folder from being imported."""
    return [sys.executable, "-P", "-m", module, *arguments]


def flags(values: Mapping[str, Flag]) -> list[str]:
    """Command-line flags: None and False are left out, True stands alone, a sequence is repeated."""
    return [word for name, value in values.items() for word in _flag(name, value)]


def become(module: str, arguments: Sequence[str]) -> NoReturn:
    """Replace this process with a module of ours."""
    sys.stdout.flush()
    sys.stderr.flush()
    command = module_command(module, arguments)
    os.execv(command[0], command)


def _flag(name: str, value: Flag) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [name]
    if isinstance(value, str | int | float | os.PathLike):
        return [f"{name}={os.fspath(value) if isinstance(value, os.PathLike) else value}"]
    return [f"{name}={each}" for each in value]
