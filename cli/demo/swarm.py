"""Several daemons on loopback, each a process with a state folder of its own, and none left behind."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]

from swarmd.cli.client import call
from swarmd.cli.demo.founding import found
from swarmd.cli.spawn import module_command
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, SwarmdError, TimedOut

START_SECONDS = 60.0
STOP_SECONDS = 10.0
MEET_SECONDS = 60.0
_LOOK_EVERY = 0.1


@dataclass(frozen=True, slots=True)
class Home:
    """Where a daemon runs on this machine."""

    address: str = "127.0.0.1"
    enter: tuple[str, ...] = ()
    """What to put before its command: the way into a network namespace."""
    fault: str = ""
    """One for this node alone (``swarmd.train.faults``)."""


@dataclass(frozen=True, slots=True)
class LocalNode:
    """One daemon of ours."""

    name: str
    paths: Paths
    process: subprocess.Popen[bytes]


class LocalSwarm:
    """Daemons on a network of their own that find each other from the first one's address alone."""

    def __init__(self, folder: Path, *, price: int = 0, fault: str = "", homes: Sequence[Home] = ()) -> None:
        """``homes`` of the nodes in order; those without one live on loopback."""
        self.folder, self._price, self._fault, self._homes = folder, price, fault, homes
        self.nodes: list[LocalNode] = []
        self._first = ""
        self.orphans = 0
        """Processes that outlived the swarm, once it was closed."""

    def start(self, count: int) -> None:
        """Start so many daemons; wait until each knows what all others offer. Raises StateError or TimedOut."""
        names = [f"node-{number}" for number in range(1, count + 1)]
        found([self._paths(name) for name in names])
        self.nodes.append(self._start_one(names[0], self._home(0)))
        self._first = self._status(self.nodes[0])["addresses"][0]
        self.nodes += [self._start_one(name, self._home(at), self._first) for at, name in enumerate(names[1:], 1)]
        deadline = time.monotonic() + MEET_SECONDS
        for node in self.nodes:
            while not _ask(node, "status").get("device") or len(_offers(node)) < count - 1:
                self._check_alive()
                if time.monotonic() > deadline:
                    raise TimedOut(f"the nodes did not find each other within {MEET_SECONDS:.0f} s")
                time.sleep(_LOOK_EVERY)

    def restart(self, at: int) -> None:
        """Start a node again that has ended, with the state it left and without its fault."""
        home = replace(self._home(at), fault="")
        self.nodes[at] = self._start_one(self.nodes[at].name, home, self._first if at else None)

    def close(self) -> None:
        """Stop every daemon in order, then by force; count what is left of them."""
        family = [child for node in self.nodes for child in _family(node.process.pid)]
        for node in self.nodes:
            node.process.terminate()
        deadline = time.monotonic() + STOP_SECONDS
        for node in self.nodes:
            with suppress(subprocess.TimeoutExpired):
                node.process.wait(max(0.1, deadline - time.monotonic()))
        _, alive = psutil.wait_procs(family, timeout=2)
        self.orphans = len(alive)
        for process in alive:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        for node in self.nodes:
            node.process.wait()

    def _home(self, at: int) -> Home:
        home = self._homes[at] if at < len(self._homes) else Home()
        return home if home.fault else replace(home, fault=self._fault)

    def _start_one(self, name: str, home: Home, bootstrap: str | None = None) -> LocalNode:
        paths = self._paths(name)
        command = module_command("swarmd", [
            "--state-dir", str(paths.state_dir), "--name", name, "--listen", f"/ip4/{home.address}/tcp/0",
            "--tensor-host", home.address, "--no-mdns", "--accept", "network", "--device", "cpu", "--threads", "1",
            "--price", str(self._price),
            *(["--bootstrap", bootstrap] if bootstrap else []),
            *(["--fault", home.fault] if home.fault else []),
        ])  # fmt: skip
        with (paths.state_dir / "daemon.log").open("ab") as log:
            process = subprocess.Popen([*home.enter, *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        return LocalNode(name, paths, process)

    def _paths(self, name: str) -> Paths:
        return Paths(self.folder / name)

    def _status(self, node: LocalNode) -> dict[str, Any]:
        deadline = time.monotonic() + START_SECONDS
        while True:
            if status := _ask(node, "status"):
                return status
            self._check_alive()
            if time.monotonic() > deadline:
                raise TimedOut(f"{node.name} did not start within {START_SECONDS:.0f} s", hint=self._log(node))
            time.sleep(_LOOK_EVERY)

    def _check_alive(self) -> None:
        for node in self.nodes:
            if (code := node.process.poll()) is not None:
                raise StateError(f"{node.name} ended with exit code {code}", hint=self._log(node))

    def _log(self, node: LocalNode) -> str:
        with suppress(OSError):
            tail = (node.paths.state_dir / "daemon.log").read_text(errors="replace").splitlines()[-5:]
            return "its log ends: " + " | ".join(tail)
        return "it left no log"


@contextmanager
def local_swarm(
    folder: Path, count: int, *, price: int = 0, fault: str = "", homes: Sequence[Home] = ()
) -> Iterator[LocalSwarm]:
    """A running swarm for the length of the block; ``price`` in micro-credits per 10^12 operations."""
    swarm = LocalSwarm(folder, price=price, fault=fault, homes=homes)
    try:
        swarm.start(count)
        yield swarm
    finally:
        swarm.close()


def _offers(node: LocalNode) -> list[Any]:
    """Peers that a node may give a stage: it knows what their device can do."""
    return [peer for peer in _ask(node, "peers").get("peers", ()) if peer["device"]["flops"] > 0]


def _ask(node: LocalNode, method: str) -> dict[str, Any]:
    """The daemon's answer, or nothing while it is still starting."""
    try:
        return call(node.paths, method, wait=5.0)
    except SwarmdError:
        return {}


def _family(pid: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []
