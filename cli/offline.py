"""Asking what needs no daemon: the node's folder, through a short process of the daemon's side.

What is asked travels through its standard input, so that invites and passphrases show on no command line.
"""

from __future__ import annotations

import json
import subprocess
from typing import Any

from swarmd.cli.spawn import module_command
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, TimedOut, by_code

SECONDS = 300.0


def ask_folder(paths: Paths, method: str, **params: object) -> dict[str, Any]:
    """One question (``swarmd.offline`` lists them); its result. Raises the error that it names."""
    command = module_command("swarmd.offline", [f"--state-dir={paths.state_dir}"])
    request = json.dumps({"method": method, "params": params})
    try:
        done = subprocess.run(command, input=request, stdout=subprocess.PIPE, text=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        raise TimedOut(f"{paths.state_dir} did not answer within {SECONDS:g} s", hint="swarmd doctor") from None
    try:
        answer = json.loads(done.stdout)
        result, error = answer.get("result"), answer.get("error")
    except (ValueError, AttributeError):
        result, error = None, None
    if isinstance(error, dict):
        raise by_code(*(str(error.get(name) or "") for name in ("code", "message", "hint")))
    if not isinstance(result, dict):
        raise StateError(f"no answer about {paths.state_dir} (exit code {done.returncode})", hint="swarmd doctor")
    return result
