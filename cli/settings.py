"""The settings, from the running daemon or as the next one would read them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from swarmd.cli.client import call
from swarmd.paths import Paths
from swarmd.protocols.errors import DaemonUnreachable

Rows = list[dict[str, Any]]


def local(paths: Paths, env: Mapping[str, str]) -> Rows:
    """What the settings file and the environment say. Raises UsageError."""
    from swarmd.config import load, shown

    config, origins = load(paths.state_dir, {}, env)
    return shown(config, origins)


def effective(paths: Paths, env: Mapping[str, str]) -> tuple[Rows, bool]:
    """The running daemon's settings and True, else the local ones and False."""
    try:
        return list(call(paths, "config")["settings"]), True
    except DaemonUnreachable:
        return local(paths, env), False
