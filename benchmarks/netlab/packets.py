"""What the router reads of a packet.

Between the TUN devices and the router travel a virtio header and an IPv4 packet. The header lets the
kernel hand over many TCP segments as one large packet, which is what makes a fast lab cheap.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

VIRTIO_BYTES = 10
NETWORK = bytes((10, 77, 0))
_VIRTIO = struct.Struct("<BBHHHH")
_IP_AND_TCP = 52
"""Bytes of headers that each further segment of a large packet has on a real link (with TCP's time stamps)."""
_WITH_PORTS = (6, 17)


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet on its way; ``data`` is what the target's device is given."""

    target: int
    wire_bytes: int
    """Of all its segments, headers included."""
    protocol: int
    ports: bytes
    """Source and destination port, two bytes each; zeros where there are none."""
    data: bytes


def parse(data: bytes) -> Packet | None:
    """The packet that a device gave out; None for what is not IPv4 within the lab."""
    ip = data[VIRTIO_BYTES : VIRTIO_BYTES + 20]
    if len(ip) < 20 or ip[0] >> 4 != 4 or ip[16:19] != NETWORK:
        return None
    body = VIRTIO_BYTES + (ip[0] & 15) * 4
    ports = data[body : body + 4] if ip[9] in _WITH_PORTS else bytes(4)
    return Packet(ip[19] - 1, _wire_bytes(data), ip[9], ports, data)


def _wire_bytes(data: bytes) -> int:
    fields: tuple[int, ...] = _VIRTIO.unpack_from(data)
    _, kind, head, segment, _, _ = fields
    size = len(data) - VIRTIO_BYTES
    if kind == 0 or segment == 0:
        return size
    segments = max(1, -(-(size - head) // segment))
    return size + (segments - 1) * _IP_AND_TCP
