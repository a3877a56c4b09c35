"""Checks of the node's files: what ``swarmd up`` could not start with, read by its own code in a process of its own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from typing import Any

from swarmd.cli import spawn
from swarmd.cli.finding import Finding, fail, ok, warn
from swarmd.paths import Paths

CHECK_SECONDS = 60.0
NAMES = ("key", "network", "database", "account")


def findings(paths: Paths) -> Iterator[Finding]:
    """Whether the key, the network's file and both databases, as far as they are there, can be used."""
    places = dict(zip(NAMES, (paths.key, paths.network, paths.database, paths.self_db), strict=True))
    if not any(place.exists() for place in places.values()):
        return
    answer = _asked(paths)
    if answer is None:
        yield warn("files", "could not be checked", "swarmd doctor --debug")
        return
    for name, problem in answer.items():
        if problem:
            yield fail(name, str(problem["message"]), str(problem["hint"]))
        else:
            yield ok(name, f"{places[name]} can be used")


def _asked(paths: Paths) -> dict[str, Any] | None:
    command = spawn.module_command("swarmd", ["--check", f"--state-dir={paths.state_dir}"])
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=CHECK_SECONDS, stdin=subprocess.DEVNULL)
        answer = json.loads(done.stdout)
    except (subprocess.TimeoutExpired, ValueError):
        return None
    return {name: answer[name] for name in NAMES if name in answer} if isinstance(answer, dict) else None
