"""Tensor frames: which tensor this is, and how to check and read its bytes.

A frame is a header and raw bytes. The header's key names one crossing of one boundary by one
micro-batch; the root is a BLAKE3 Merkle root over tiles of 64 rows, as they are on the wire, so that a single
tile of a tensor can later be opened against a receipt.

On a link every message is an 8-byte prefix (version u8, kind u8, header bytes u16, payload bytes u32,
big-endian), the canonical header, and, for a tensor only, its payload. A reader takes the prefix, then
the header, and knows every length before it allocates anything for the payload.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from struct import Struct
from typing import TypeAlias

from blake3 import blake3

from swarmd.protocols import codecs
from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import RunId
from swarmd.protocols.records import from_value, to_value

FRAME_VERSION = 1
TILE_ROWS = 64
MAX_HEADER_BYTES = 1024
MAX_PAYLOAD_BYTES = (1 << 32) - 1
MAX_FAREWELL = 200
_PREFIX = Struct(">BBHI")
PREFIX_BYTES = _PREFIX.size


class Direction(IntEnum):
    """Which way, and for what, a tensor crosses a boundary; from COUNTED on within a stage, among its replicas."""

    FORWARD = 0
    BACKWARD = 1
    EVALUATE = 2
    COUNTED = 3
    """A micro-batch is in the sender's sum; its loss, float64 [1], or 0 but at the last stage."""
    PART = 4
    """The next slice of the sender's sum, float64 [values]; ``micro_batch`` is the slice's number."""
    TOLD = 5
    """The next slice of what a replica that trains apart tells in a round, uint8 [bytes]; likewise."""


@dataclass(frozen=True, slots=True, order=True)
class FrameKey:
    """One crossing. ``boundary`` is the number of the layer after the cut; among replicas, of their first layer."""

    run: RunId
    term: int
    step: int
    micro_batch: int
    boundary: int
    direction: int
    attempt: int = 0

    def __post_init__(self) -> None:
        """A ``Direction`` is kept as its plain number, the form it has when it is read back."""
        if type(self.direction) is not int:
            object.__setattr__(self, "direction", int(self.direction))


@dataclass(frozen=True, slots=True)
class FrameHeader:
    """Everything about a tensor but its bytes."""

    version: int
    key: FrameKey
    plan: int
    """Number of the plan that put sender and receiver where they are."""
    weight_version: int
    """Optimizer steps behind the weights that made this tensor."""
    codec: str
    """One of ``codecs.CODECS``, or of ``codecs.WITH_IDS``."""
    dtype: str
    """Of the tensor before and after the codec; so is ``shape``."""
    shape: tuple[int, ...]
    root: bytes

    def __post_init__(self) -> None:
        """Raises ValueError for a header no honest peer sends."""
        if self.version != FRAME_VERSION:
            raise ValueError(f"frame version {self.version}; this node speaks {FRAME_VERSION}")
        if not 1 <= len(self.shape) <= 4 or not all(0 < size < 1 << 31 for size in self.shape):
            raise ValueError(f"impossible shape {self.shape}")
        codecs.row_bytes(self.codec, self.shape[-1], self.dtype)
        if self.key.direction not in Direction._value2member_map_ or len(self.root) != 32:
            raise ValueError("unknown direction or a root that is not 32 bytes")
        numbers = (
            self.key.term,
            self.key.step,
            self.key.micro_batch,
            self.key.boundary,
            self.key.attempt,
            self.plan,
            self.weight_version,
        )
        if not all(0 <= number < 1 << 40 for number in numbers):
            raise ValueError("a counter is negative or absurd")

    @property
    def payload_bytes(self) -> int:
        """Bytes that follow the header."""
        return codecs.payload_bytes(self.codec, self.shape, self.dtype)

    def root_of(self, payload: memoryview) -> bytes:
        """The ``tile_root`` of bytes that are of this header's shape, dtype and codec."""
        return tile_root(payload, self.shape, self.dtype, self.codec)


@dataclass(frozen=True, slots=True)
class Ack:
    """The receiver has this frame, whole and with this root."""

    key: FrameKey
    root: bytes
    signature: bytes = b""
    """The receiver's signature, 64 bytes, or nothing."""

    def __post_init__(self) -> None:
        """Raises ValueError for an acknowledgement no honest peer sends."""
        if len(self.root) != 32 or len(self.signature) not in (0, 64):
            raise ValueError("a root has 32 bytes and a signature 64 or none")


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender ends the link on purpose; without it an end is a loss."""

    reason: str = ""

    def __post_init__(self) -> None:
        """Raises ValueError for a reason over 200 characters."""
        if len(self.reason) > MAX_FAREWELL:
            raise ValueError(f"a farewell has at most {MAX_FAREWELL} characters")


@dataclass(frozen=True, slots=True)
class Ping:
    """Nothing to say, but still here."""


Message: TypeAlias = FrameHeader | Ack | Bye | Ping
_KINDS: tuple[type[Message], ...] = (FrameHeader, Ack, Bye, Ping)


@dataclass(frozen=True, slots=True)
class Prefix:
    """What the first 8 bytes of a message promise."""

    kind: int
    header_bytes: int
    payload_bytes: int


def encode_header(message: Message) -> bytes:
    """Prefix and header of a message; a tensor's payload follows them.

    Raises ValueError for a payload or header over the format's limits.
    """
    header = encode(to_value(message))
    payload = message.payload_bytes if isinstance(message, FrameHeader) else 0
    if len(header) > MAX_HEADER_BYTES or payload > MAX_PAYLOAD_BYTES:
        raise ValueError(f"a header of {len(header)} and a payload of {payload} bytes do not fit a message")
    return _PREFIX.pack(FRAME_VERSION, _KINDS.index(type(message)), len(header), payload) + header


def parse_prefix(raw: bytes | bytearray | memoryview, *, payload_limit: int) -> Prefix:
    """The lengths of the message that 8 bytes begin.

    Raises:
        ProtocolViolation: another version, an unknown kind, or a length over the limits.
    """
    if len(raw) != PREFIX_BYTES:
        raise ProtocolViolation(f"a message begins with {PREFIX_BYTES} bytes, not {len(raw)}")
    version, kind, header, payload = _PREFIX.unpack(raw)
    if version != FRAME_VERSION:
        raise ProtocolViolation(f"link version {version}; this node speaks {FRAME_VERSION}")
    if kind >= len(_KINDS):
        raise ProtocolViolation(f"unknown kind of message {kind}")
    if header > MAX_HEADER_BYTES or payload > payload_limit:
        raise ProtocolViolation(f"a header of {header} or a payload of {payload} bytes is over the limit")
    return Prefix(kind, header, payload)


def parse_header(prefix: Prefix, raw: bytes) -> Message:
    """The message of a header's bytes.

    Raises:
        ProtocolViolation: not canonical, not of the promised kind or length, or impossible contents.
    """
    if len(raw) != prefix.header_bytes:
        raise ProtocolViolation("a header of another length than its prefix says")
    message = from_value(_KINDS[prefix.kind], decode(raw, limit=MAX_HEADER_BYTES))
    expected = message.payload_bytes if isinstance(message, FrameHeader) else 0
    if prefix.payload_bytes != expected:
        raise ProtocolViolation(f"{prefix.payload_bytes} bytes follow where the header has {expected}")
    return message


def tile_root(
    payload: bytes | bytearray | memoryview, shape: tuple[int, ...], dtype: str, codec: str = codecs.RAW
) -> bytes:
    """BLAKE3 Merkle root over tiles of 64 rows; a row is the last axis, in its codec's bytes.

    Leaves are ``blake3(0x00 || tile)``, inner nodes ``blake3(0x01 || left || right)``; an odd node at the
    end of a level moves up as it is.
    """
    view = memoryview(payload).cast("B")
    tile = codecs.row_bytes(codec, shape[-1], dtype) * TILE_ROWS
    level = [_leaf(view[at : at + tile]) for at in range(0, len(view), tile)]
    while len(level) > 1:
        paired = [blake3(b"\1" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def _leaf(tile: memoryview) -> bytes:
    """Up to 64 KiB a copy with the tag in front hashes up to twice as fast as the tag and then the tile."""
    return (blake3(b"\0" + tile) if len(tile) <= 1 << 16 else blake3(b"\0").update(tile)).digest()
