"""The thread that carries packets between the devices, in batches."""

from __future__ import annotations

import os
import select
import sys
import threading
import time

from benchmarks.netlab.control import obey
from benchmarks.netlab.hosts import LabError
from benchmarks.netlab.packets import VIRTIO_BYTES, parse
from benchmarks.netlab.queueing import Queues

_LARGEST = VIRTIO_BYTES + 65535
_BATCH = 64
"""Packets of one device before the next has its turn."""
_TICKS = 8
"""Looks at the devices in the shortest delay of a host. What arrives between two is carried together, for every look
takes the machine from the programs that are measured."""
_SHORTEST_TICK, _LONGEST_TICK = 0.0005, 0.004
_IDLE = 0.2


class Router(threading.Thread):
    """Runs until ``stop``; ``control`` is the descriptor that control lines come from."""

    def __init__(self, queues: Queues, devices: list[int], control: int) -> None:
        super().__init__(name="netlab-router", daemon=True)
        self._queues, self._devices, self._control = queues, devices, control
        self._line = b""
        self._tick = tick([queues.host(number).delay for number in range(len(devices))])
        self._stopped = False

    def stop(self) -> None:
        """End the thread, and wait for it."""
        self._stopped = True
        self.join()

    def run(self) -> None:
        """Carry packets."""
        hosts = {device: number for number, device in enumerate(self._devices)}
        with select.epoll() as poll:
            for descriptor in (*self._devices, self._control):
                poll.register(descriptor, select.EPOLLIN)
            while not self._stopped:
                for descriptor, _ in poll.poll(self._patience()):
                    if descriptor == self._control:
                        self._obey()
                    else:
                        self._take(hosts[descriptor], descriptor)
                self._deliver()
                time.sleep(self._tick)

    def _patience(self) -> float:
        """Seconds until something must be delivered; the kernel counts them in whole milliseconds."""
        arrival = self._queues.next_arrival()
        return _IDLE if arrival is None else min(_IDLE, max(0.0, arrival - time.monotonic() - self._tick))

    def _take(self, host: int, device: int) -> None:
        now = time.monotonic()
        for _ in range(_BATCH):
            try:
                packet = parse(os.read(device, _LARGEST))
            except BlockingIOError:
                return
            if packet is not None:
                self._queues.accept(host, packet, now)

    def _deliver(self) -> None:
        for packet in self._queues.due(time.monotonic()):
            try:
                os.write(self._devices[packet.target], packet.data)
            except OSError as error:
                print(f"netlab: host {packet.target} takes no packet: {error.strerror}", file=sys.stderr)

    def _obey(self) -> None:
        *lines, self._line = (self._line + os.read(self._control, 4096)).split(b"\n")
        for line in lines:
            try:
                obey(self._queues, line.decode(errors="replace"))
            except LabError as error:
                print(f"netlab: {error}", file=sys.stderr)


def tick(delays: list[float]) -> float:
    """Seconds between two looks at the devices of hosts with these delays in milliseconds."""
    return min(_LONGEST_TICK, max(_SHORTEST_TICK, min(delays, default=0.0) / 1e3 / _TICKS))
