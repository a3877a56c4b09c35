"""A rich console that leaves a broken pipe to the entry, as every other output does."""

from __future__ import annotations

from rich.console import Console


class PipeConsole(Console):
    """Rich would end the process with 1 when a pipe's reader has gone."""

    def on_broken_pipe(self) -> None:
        """Pass it on."""
        raise BrokenPipeError
