"""Messages on a byte stream: four bytes of length, big-endian, then that many bytes.

A length over the limit is refused when its four bytes are there, before anything is kept for it.
"""

from __future__ import annotations

from swarmd.protocols.errors import ProtocolViolation

PREFIX_BYTES = 4
MAX_MESSAGE_BYTES = 256 * 1024


def frame(payload: bytes, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """A payload behind its length. Raises ValueError over ``limit`` bytes."""
    if len(payload) > limit:
        raise ValueError(f"a message of {len(payload)} bytes is over the limit of {limit}")
    return len(payload).to_bytes(PREFIX_BYTES, "big") + payload


def payload_length(prefix: bytes, limit: int = MAX_MESSAGE_BYTES) -> int:
    """The length that a prefix announces. Raises ProtocolViolation over ``limit`` bytes."""
    length = int.from_bytes(prefix, "big")
    if length > limit:
        raise ProtocolViolation(f"a message of {length} bytes is over the limit of {limit}")
    return length


class FrameReader:
    """Cuts a stream into payloads, however its bytes arrive. Holds less than one message and one feed."""

    def __init__(self, limit: int = MAX_MESSAGE_BYTES) -> None:
        self._limit = limit
        self._held = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """The payloads that ``data`` completes, in order.

        Raises:
            ProtocolViolation: a message over the limit; the stream cannot be read any further.
        """
        self._held += data
        payloads: list[bytes] = []
        start = 0
        while (end := self._end_of_message(start)) is not None:
            payloads.append(bytes(self._held[start + PREFIX_BYTES : end]))
            start = end
        del self._held[:start]
        return payloads

    @property
    def between_messages(self) -> bool:
        """Whether the stream may end here without cutting a message short."""
        return not self._held

    def _end_of_message(self, start: int) -> int | None:
        """Where the message that begins at ``start`` ends; None while a part of it is missing."""
        body = start + PREFIX_BYTES
        if len(self._held) < body:
            return None
        end = body + payload_length(bytes(self._held[start:body]), self._limit)
        return end if len(self._held) >= end else None
