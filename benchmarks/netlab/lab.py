"""A lab for the length of a block."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from benchmarks.netlab.devices import devices
from benchmarks.netlab.hosts import Host
from benchmarks.netlab.queueing import Queues
from benchmarks.netlab.router import Router


@dataclass(frozen=True, slots=True)
class Lab:
    """A running lab: what crossed its links, and the FIFO for lines that change it."""

    queues: Queues
    control: Path

    def enter(self, host: int) -> tuple[str, ...]:
        """What to put before a command so that it runs on a host."""
        return ("ip", "netns", "exec", f"lab{host}")

    def address(self, host: int) -> str:
        """The IP address of a host."""
        return f"10.77.0.{host + 1}"


@contextmanager
def lab(hosts: tuple[Host, ...], *, seed: int = 0, mtu: int = 1500) -> Iterator[Lab]:
    """Make the hosts, and carry packets between them. Raises LabError."""
    queues = Queues(hosts, seed)
    # A large packet is lost whole; where losses are asked for, packets are cut to the link's size first.
    large = not any(host.loss for host in hosts)
    with devices(len(hosts), mtu, large_packets=large) as opened, _control() as (path, control):
        router = Router(queues, opened, control)
        router.start()
        try:
            yield Lab(queues, path)
        finally:
            router.stop()


@contextmanager
def _control() -> Iterator[tuple[Path, int]]:
    with tempfile.TemporaryDirectory(prefix="netlab-") as folder:
        path = Path(folder, "control")
        os.mkfifo(path)
        descriptor = os.open(path, os.O_RDWR | os.O_NONBLOCK)
        try:
            yield path, descriptor
        finally:
            os.close(descriptor)
