"""The frames of yamux, version 0: https://github.com/hashicorp/yamux/blob/master/spec.md."""

from __future__ import annotations

import struct

PROTOCOL = "/yamux/1.0.0"
HEADER = struct.Struct("!BBHII")
"""Version, kind, flags, stream id, length."""

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8

WINDOW = 256 * 1024
"""Bytes either side may send on a new stream before it is told of more room."""
LARGEST_WINDOW = 1024 * 1024
LARGEST_BODY = 65_519 - HEADER.size
"""Bytes of data in a frame we send: with its header it fills one Noise message."""


def frame(kind: int, flags: int, stream: int, length: int) -> bytes:
    """A frame's header; ``length`` is the body's size, a window's growth, or a ping's number."""
    return HEADER.pack(0, kind, flags, stream, length)
