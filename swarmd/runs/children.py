"""Short-lived processes of our own that do what the daemon must not: read text, write models.

Each prints one JSON object as its last line: its result, or ``{"error": {...}}``. It ends when the daemon
does, because it is killed with the task that waits for it, and because it watches its standard input.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import trio

from swarmd.protocols.errors import StateError, by_code

MAX_OUTPUT = 1 << 22


async def run_child(module: str, *arguments: str) -> dict[str, Any]:
    """The JSON object that ``python -m module arguments`` prints. Raises the error it names."""
    command = [sys.executable, "-P", "-m", module, *arguments]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        output = await _read_all(process)
        await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
    return _result(module, output, process.returncode)


async def _read_all(process: trio.Process) -> bytes:
    assert process.stdout is not None
    output = bytearray()
    async for piece in process.stdout:
        output += piece
        if len(output) > MAX_OUTPUT:
            raise StateError("a child process says more than it should")
    return bytes(output)


def _result(module: str, output: bytes, code: int | None) -> dict[str, Any]:
    lines = output.decode(errors="replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise StateError(f"{module} ended with exit code {code} and no result", hint="see the daemon's log")
    if "error" in answer:
        error = answer["error"]
        raise by_code(error["code"], error["message"], error.get("hint", ""))
    return answer
