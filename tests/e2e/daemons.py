"""Real daemons as processes, for tests: started on loopback, asked over their control sockets, ended for sure."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from swarmd.cli.client import call
from swarmd.paths import Paths

START_SECONDS = 60.0


@dataclass
class Daemon:
    """One running daemon."""

    paths: Paths
    process: subprocess.Popen[bytes]
    addresses: tuple[str, ...]
    family: list[psutil.Process]
    """Processes seen to belong to it."""

    @property
    def peer(self) -> str:
        return self.addresses[0].rpartition("/")[2]

    def ask(self, method: str, **params: object) -> dict[str, Any]:
        return call(self.paths, method, wait=60.0, **params)

    def look(self) -> list[psutil.Process]:
        """The daemon and its children now; remembered until it is stopped."""
        with suppress(psutil.NoSuchProcess):
            daemon = psutil.Process(self.process.pid)
            self.family = [daemon, *daemon.children(recursive=True)]
        return self.family

    def kill(self, how: signal.Signals = signal.SIGKILL) -> list[psutil.Process]:
        """End it; gives what is alive two seconds after its end."""
        self.look()
        self.process.send_signal(how)
        self.process.wait(20)
        return psutil.wait_procs(self.family, timeout=2)[1]


def command(state: Path, *flags: str) -> list[str]:
    """How a test's daemon is started."""
    return [
        sys.executable, "-P", "-m", "swarmd", "--state-dir", str(state), "--listen", "/ip4/127.0.0.1/tcp/0",
        "--tensor-host", "127.0.0.1", "--no-mdns", "--device", "cpu", "--threads", "1", "--json", *flags,
    ]  # fmt: skip


@contextmanager
def daemons(folder: Path) -> Iterator[Callable[..., Daemon]]:
    """A starter of daemons; all are ended with the block."""
    started: list[Daemon] = []

    def start(name: str, *flags: str) -> Daemon:
        state = folder / name
        state.mkdir(mode=0o700, exist_ok=True)
        with (state / "log").open("ab") as log:
            process = subprocess.Popen(
                command(state, *flags), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log,
                env={**os.environ, "XDG_RUNTIME_DIR": str(folder)},
            )  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise AssertionError(f"{name} did not start: {(state / 'log').read_text()}")
        daemon = Daemon(Paths(state, folder), process, tuple(json.loads(line)["addresses"]), [])
        started.append(daemon)
        return daemon

    try:
        yield start
    finally:
        for daemon in started:
            for process in daemon.look():
                with suppress(psutil.NoSuchProcess):
                    process.kill()
            daemon.process.wait()
            assert daemon.process.stdout is not None
            daemon.process.stdout.close()


def until(true: Callable[[], object], seconds: float = 30.0) -> Any:
    """The first truthy answer within the time. Raises AssertionError after it."""
    deadline = time.monotonic() + seconds
    while True:
        if answer := true():
            return answer
        assert time.monotonic() < deadline, "it did not come true in time"
        time.sleep(0.05)
