"""What the command line has done to a folder, done in this process instead of one of its own."""

from __future__ import annotations

import json
from typing import Any

from swarmd.offline import answer
from swarmd.paths import Paths


def in_this_process(paths: Paths, method: str, **params: object) -> dict[str, Any]:
    """As ``swarmd.cli.offline.ask_folder``."""
    request = json.dumps({"method": method, "params": params})
    result: dict[str, Any] = json.loads(json.dumps(answer(paths, request.encode())))
    return result
