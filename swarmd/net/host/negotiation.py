"""Agreeing on a stream's protocol: multistream-select, asked in one round trip and bounded both ways."""

from __future__ import annotations

from libp2p.exceptions import ParseError
from libp2p.network.stream.net_stream import NetStream
from libp2p.protocol_muxer.multiselect import MULTISELECT_PROTOCOL_ID, PROTOCOL_NOT_FOUND_MSG
from libp2p.utils.varint import encode_delim

_LONGEST = 1024
"""Bytes in one line. The library reads as many as the peer's prefix says."""


class BoundedReader:
    """A stream from which nobody reads much at once, so that no announced length is believed."""

    def __init__(self, stream: NetStream) -> None:
        self._stream = stream

    async def read(self, n: int | None = None) -> bytes:
        """At most ``n`` bytes, and few."""
        received: bytes = await self._stream.read(_LONGEST if n is None else min(n, _LONGEST))
        return received

    async def write(self, data: bytes) -> None:
        """Send everything."""
        await self._stream.write(data)


async def request(stream: NetStream, protocol: str) -> bool:
    """Ask for a protocol; False if the peer does not speak it. Raises StreamError or ParseError."""
    await stream.write(encode_delim(MULTISELECT_PROTOCOL_ID.encode()) + encode_delim(protocol.encode()))
    if await _line(stream) != MULTISELECT_PROTOCOL_ID:
        raise ParseError("the peer does not speak multistream-select")
    answer: str = await _line(stream)
    if answer not in (protocol, PROTOCOL_NOT_FOUND_MSG):
        raise ParseError("the peer answered with another protocol")
    return bool(answer != PROTOCOL_NOT_FOUND_MSG)


async def _line(stream: NetStream) -> str:
    size = await _length(stream)
    text = b""
    while len(text) < size:
        text += await stream.read(size - len(text))
    return text.decode(errors="replace").rstrip("\n")


async def _length(stream: NetStream) -> int:
    first: int = (await stream.read(1))[0]
    if first < 0x80:
        return first
    size: int = (first & 0x7F) | (await stream.read(1))[0] << 7
    if size > _LONGEST:
        raise ParseError("a protocol's name is too long")
    return size
