"""Short-lived processes of our own that do what the daemon must not: read text, write models.

Each prints one JSON object as its last line: its result, or ``{"error": {...}}``. It ends with the task that
waits for it, and with the daemon (``swarmd.child``).
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import trio

from swarmd.protocols.errors import StateError, by_code

MAX_OUTPUT = 1 << 22


async def run_child(name: str, *arguments: str) -> dict[str, Any]:
    """The JSON object that a module of ``swarmd.child`` prints. Raises the error it names."""
    command = [sys.executable, "-P", "-m", "swarmd.child", name, *arguments]
    process = await trio.lowlevel.open_process(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        output = await _read_all(process)
        await process.wait()
    finally:
        with trio.CancelScope(shield=True):
            process.kill()
            await process.wait()
    return _result(name, output, process.returncode)


async def _read_all(process: trio.Process) -> bytes:
    assert process.stdout is not None
    output = bytearray()
    async for piece in process.stdout:
        output += piece
        if len(output) > MAX_OUTPUT:
            raise StateError("a child process says more than it should")
    return bytes(output)


def _result(name: str, output: bytes, code: int | None) -> dict[str, Any]:
    lines = output.decode(errors="replace").strip().splitlines()
    try:
        answer = json.loads(lines[-1]) if lines else None
    except json.JSONDecodeError:
        answer = None
    if not isinstance(answer, dict):
        raise StateError(f"the child process {name!r} ended with exit code {code}, without a result")
    if "error" in answer:
        error = answer["error"]
        raise by_code(error["code"], error["message"], error.get("hint", ""))
    return answer
