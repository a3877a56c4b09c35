"""When a packet arrives, or that it does not: queues, delays, losses, cuts and NAT, with time passed in.

A direction of a link is a queue served at its rate. A packet that has passed the sender's uplink travels both
hosts' delays and then passes the receiver's downlink. Nothing here waits or reads a clock.
"""

from __future__ import annotations

import heapq
from dataclasses import asdict, dataclass, field
from random import Random

from benchmarks.netlab.hosts import Host
from benchmarks.netlab.packets import Packet

_MOST_CONTACTS = 4096


@dataclass(slots=True)
class Statistics:
    """What crossed one host's link."""

    sent_bytes: int = 0
    sent_packets: int = 0
    received_bytes: int = 0
    received_packets: int = 0
    lost: int = 0
    """By chance."""
    overflowed: int = 0
    """At a full buffer."""
    blocked: int = 0
    """By a cut or a NAT."""
    longest_queue_ms: float = 0.0


@dataclass(slots=True)
class _End:
    host: Host
    up_free: float = 0.0
    down_free: float = 0.0
    contacts: dict[tuple[int, int, bytes], None] = field(default_factory=dict)
    statistics: Statistics = field(default_factory=Statistics)


class Queues:
    """Every link of a lab. Times are seconds of one clock that only moves forward."""

    def __init__(self, hosts: tuple[Host, ...], seed: int = 0) -> None:
        """The same seed and the same packets at the same times: the same losses."""
        self._ends = [_End(host) for host in hosts]
        self._chance = Random(seed)
        self._cuts: set[tuple[int, int]] = set()
        self._under_way: list[tuple[float, int, Packet]] = []
        self._accepted = 0

    def host(self, number: int) -> Host:
        """How a host's link is now. Raises IndexError."""
        return self._ends[number].host

    def set(self, number: int, host: Host) -> None:
        """Make a host's link another from now on; packets under way keep their times."""
        self._ends[number].host = host

    def cut(self, first: int, second: int | None = None) -> None:
        """Let nothing pass between two hosts, or to and from one."""
        pair = (-1, first) if second is None else (min(first, second), max(first, second))
        self._cuts.add(pair)

    def heal(self) -> None:
        """Undo every cut."""
        self._cuts.clear()

    def accept(self, source: int, packet: Packet, now: float) -> None:
        """A host sends a packet."""
        if not 0 <= packet.target < len(self._ends):
            return
        sender, receiver = self._ends[source], self._ends[packet.target]
        _note_contact(sender, packet)
        if self._is_blocked(source, packet):
            sender.statistics.blocked += 1
        elif (passed := self._pass_up(sender, packet, now)) is not None:
            self._pass_down(sender, receiver, packet, passed)

    def due(self, now: float) -> list[Packet]:
        """Packets that have arrived by now, in their order."""
        arrived = []
        while self._under_way and self._under_way[0][0] <= now:
            packet = heapq.heappop(self._under_way)[2]
            statistics = self._ends[packet.target].statistics
            statistics.received_bytes += packet.wire_bytes
            statistics.received_packets += 1
            arrived.append(packet)
        return arrived

    def next_arrival(self) -> float | None:
        """When the next packet arrives; None when none is under way."""
        return self._under_way[0][0] if self._under_way else None

    def statistics(self) -> list[dict[str, float]]:
        """What crossed each host's link so far."""
        return [asdict(end.statistics) for end in self._ends]

    def _pass_up(self, sender: _End, packet: Packet, now: float) -> float | None:
        host = sender.host
        begins = max(now, sender.up_free)
        if not self._is_taken(sender, begins - now):
            return None
        sender.up_free = begins + packet.wire_bytes * 8 / (host.up * 1e6)
        sender.statistics.sent_bytes += packet.wire_bytes
        sender.statistics.sent_packets += 1
        return sender.up_free

    def _pass_down(self, sender: _End, receiver: _End, packet: Packet, passed: float) -> None:
        there = passed + (sender.host.delay + receiver.host.delay) / 1e3
        begins = max(there, receiver.down_free)
        if self._is_taken(receiver, begins - there):
            receiver.down_free = begins + packet.wire_bytes * 8 / (receiver.host.down * 1e6)
            self._accepted += 1
            heapq.heappush(self._under_way, (receiver.down_free, self._accepted, packet))

    def _is_taken(self, end: _End, queue: float) -> bool:
        if end.host.loss and self._chance.random() < end.host.loss:
            end.statistics.lost += 1
            return False
        end.statistics.longest_queue_ms = max(end.statistics.longest_queue_ms, queue * 1e3)
        if queue * 1e3 > end.host.buffer:
            end.statistics.overflowed += 1
            return False
        return True

    def _is_blocked(self, source: int, packet: Packet) -> bool:
        target = packet.target
        ways = ((-1, source), (-1, target), (min(source, target), max(source, target)))
        if self._cuts and not self._cuts.isdisjoint(ways):
            return True
        receiver = self._ends[target]
        return receiver.host.nat and (source, packet.protocol, packet.ports[2:]) not in receiver.contacts


def _note_contact(sender: _End, packet: Packet) -> None:
    """A NAT lets in what its host has spoken to; it remembers so many."""
    if sender.host.nat:
        contact = (packet.target, packet.protocol, packet.ports[:2])
        sender.contacts.pop(contact, None)
        sender.contacts[contact] = None
        if len(sender.contacts) > _MOST_CONTACTS:
            del sender.contacts[next(iter(sender.contacts))]
