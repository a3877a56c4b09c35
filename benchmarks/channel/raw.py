"""A bare socket and one thread at each end: the ceiling."""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from benchmarks.channel.processes import cpu_seconds, say

HOST = "127.0.0.1"
FRAME = 1 << 20


def receive(total: int) -> None:
    """Take everything into one buffer."""
    with socket.create_server((HOST, 0)) as server:
        say(port=server.getsockname()[1])
        with server.accept()[0] as taken:
            begun, view = cpu_seconds(), memoryview(bytearray(FRAME))
            for _ in range(total // FRAME):
                _fill(taken, view)
            taken.sendall(b"!")
            say(cpu=cpu_seconds() - begun)


def send(total: int, offer: dict[str, Any]) -> None:
    """Send everything from one buffer."""
    with socket.create_connection((HOST, offer["port"])) as link:
        payload = os.urandom(FRAME)
        begun, cpu = time.perf_counter(), cpu_seconds()
        for _ in range(total // FRAME):
            link.sendall(payload)
        link.recv(1)
        say(seconds=time.perf_counter() - begun, cpu=cpu_seconds() - cpu)


def _fill(taken: socket.socket, view: memoryview) -> None:
    at = 0
    while at < len(view):
        at += taken.recv_into(view[at:])
