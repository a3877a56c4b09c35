"""What the kernel knows of a connection's path; Linux only.

Offsets in struct tcp_info: 16 snd_mss, 24 unacked, 68 rtt, 120 bytes_acked, 144 notsent_bytes, 148 min_rtt.
"""

from __future__ import annotations

import socket
import struct
import sys

from swarmd.scheduler.background import Path

_TCP_INFO = 11
_TCP_NOTSENT_LOWAT = 25
_UNSENT = 128 * 1024


def path_of(connection: socket.socket) -> Path | None:
    """The path as it is now; None where the system does not tell."""
    if sys.platform != "linux":
        return None
    raw = connection.getsockopt(socket.IPPROTO_TCP, _TCP_INFO, 152)
    if len(raw) < 152:
        return None
    (segment,) = struct.unpack_from("=I", raw, 16)
    (unacknowledged,) = struct.unpack_from("=I", raw, 24)
    (round_trip,) = struct.unpack_from("=I", raw, 68)
    (acknowledged,) = struct.unpack_from("=Q", raw, 120)
    unsent, shortest = struct.unpack_from("=II", raw, 144)
    return Path(round_trip / 1e6, min(round_trip, shortest) / 1e6, acknowledged, unacknowledged * segment + unsent)


def keep_little_unsent(connection: socket.socket) -> None:
    """Have the kernel take new bytes only when it has sent nearly all it has: what waits, waits here."""
    if sys.platform == "linux":
        connection.setsockopt(socket.IPPROTO_TCP, _TCP_NOTSENT_LOWAT, _UNSENT)
