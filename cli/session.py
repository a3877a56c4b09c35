"""What every command of one invocation shares: the options that stand before or after any command."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from swarmd.paths import Paths


@dataclass(frozen=True, slots=True)
class Session:
    """The options that hold for any command."""

    state_dir: Path | None = None

    @property
    def paths(self) -> Paths:
        """Where the node's files and socket are."""
        from swarmd.paths import find_paths

        return find_paths(self.state_dir, os.environ)

    def ask(self, method: str, *, wait: float = 30.0, **params: object) -> dict[str, Any]:
        """One question to the daemon, with ``wait`` seconds for its answer.

        Raises DaemonUnreachable, TimedOut, or what the daemon answers.
        """
        from swarmd.cli.client import call

        return call(self.paths, method, wait=wait, **params)


def session_of(ctx: typer.Context) -> Session:
    """The session that the root of the command tree made."""
    found = ctx.find_object(Session)
    return found if found is not None else Session()
