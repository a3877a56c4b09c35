"""The two processes of a contestant, and what they tell."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

MODULE = "benchmarks.channel.ends"
ROOT = Path(__file__).parents[2]
PATIENCE = 120.0
IN_LAB = "NETLAB_HOSTS" in os.environ
HOST = "10.77.0.1" if IN_LAB else "127.0.0.1"
"""Of the receiving process."""


def cpu_seconds(*others: int) -> float:
    """User and system time of this process, and of others by their ids."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime + sum(map(_cpu_of, others))


def say(**report: object) -> None:
    """One line to the process that started this one."""
    print(json.dumps(report), flush=True)


def hear(stream: IO[str]) -> dict[str, Any]:
    """The next line that is a report. Raises RuntimeError when the process says no more."""
    for line in stream:
        if line.startswith("{"):
            report: dict[str, Any] = json.loads(line)
            return report
    raise RuntimeError("a process of the benchmark ended early")


@dataclass(frozen=True, slots=True)
class Figures:
    """One transfer; processor time in seconds for 10^9 bytes."""

    mb_s: float
    send_cpu: float
    receive_cpu: float

    @property
    def cpu(self) -> float:
        """Of both ends."""
        return self.send_cpu + self.receive_cpu


def transfer(contestant: str, total: int, python: str = sys.executable, module: str = MODULE) -> Figures:
    """Send ``total`` bytes from a process to another. Raises RuntimeError when one of them fails."""
    sent, received = converse(contestant, total, python, module)
    gigabytes = total / 1e9
    return Figures(total / sent["seconds"] / 1e6, sent["cpu"] / gigabytes, received["cpu"] / gigabytes)


def converse(
    contestant: str, total: int, python: str = sys.executable, module: str = MODULE
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What the sending and the receiving process tell. Raises RuntimeError when one of them fails."""
    with _start(python, module, contestant, "receive", str(total)) as receiver:
        offer = hear(_output(receiver))
        with _start(python, module, contestant, "send", str(total), json.dumps(offer)) as sender:
            sent = hear(_output(sender))
        return sent, hear(_output(receiver))


@contextmanager
def _start(python: str, module: str, *words: str) -> Iterator[subprocess.Popen[str]]:
    host = ["ip", "netns", "exec", "lab0" if "receive" in words else "lab1"] if IN_LAB else []
    command = [*host, python, "-m", module, *words]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=_environment())
    try:
        yield process
        process.wait(PATIENCE)
    finally:
        process.kill()
        process.wait()
        _output(process).close()


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONWARNINGS": "ignore"}  # hivemind's torch has much to say


def _output(process: subprocess.Popen[str]) -> IO[str]:
    assert process.stdout is not None
    return process.stdout


def _cpu_of(process: int) -> float:
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
