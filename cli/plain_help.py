"""The help of a flag that takes no value shows no placeholder for one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def without_placeholders(command: Any) -> Any:  # noqa: ANN401 - typer's base classes are private
    """The same tree of commands; typer would print ``<bool>`` after each of its flags."""
    for param in _params(command, None):
        if getattr(param, "is_bool_flag", False):
            param.metavar = ""
    return command


def _params(command: Any, parent: Any) -> Iterator[Any]:  # noqa: ANN401
    """Also ``--help`` itself, which a command makes in the context of those above it."""
    context = command.context_class(command, parent=parent, **command.context_settings)
    yield from command.get_params(context)
    for child in getattr(command, "commands", {}).values():
        yield from _params(child, context)
