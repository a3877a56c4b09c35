"""A peer's signed, expiring statement of what it offers, to whom, at what price, and where it is.

Anybody can write anything into a hash table or a gossip message, so an advert is believed only for its
signature, which covers the network; and only while it lasts, which its issuer states and a limit bounds.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from swarmd.protocols.addresses import is_dialable
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, public_key_of
from swarmd.protocols.records import from_value, to_value
from swarmd.protocols.signing import Sign, parse_signed, sign, verify

ADVERT_TAG = "swarmd/advert/1"
MAX_ADVERT_BYTES = 4096
MAX_LIFETIME = 7200
"""Seconds an advert may last."""
CLOCK_SKEW = 120
"""Seconds by which an issuer's clock may run ahead of ours."""
MAX_ADDRESSES = 8
KINDS = ("cuda", "mps", "cpu")
POLICIES = ("self", "list", "network")

BadReason = Literal["oversized", "malformed", "forged", "early", "expired"]

_MAX_QUANTITY = 1 << 60


class BadAdvert(ProtocolViolation):
    """An advert that must not be believed; ``reason`` is its category."""

    def __init__(self, reason: BadReason, message: str) -> None:
        super().__init__(f"{reason} advert: {message}")
        self.reason: BadReason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAdvert:
    """The compute device on offer. A rate is what its owner measured: a cap for planning, never a promise."""

    kind: str
    """One of KINDS."""
    name: str
    memory_bytes: int
    flops: int
    """float32 operations per second."""
    threads: int
    numerics: str
    """The numerics class: build, instruction set, threads."""

    def __post_init__(self) -> None:
        """Raises ValueError for a device that cannot be."""
        if self.kind not in KINDS:
            raise ValueError(f"device kind {self.kind[:20]!r} is none of {', '.join(KINDS)}")
        _check_text("device name", self.name, 96)
        _check_text("numerics class", self.numerics, 256)
        _check_range("memory", self.memory_bytes, 0, _MAX_QUANTITY)
        _check_range("rate", self.flops, 0, _MAX_QUANTITY)
        _check_range("threads", self.threads, 1, 4096)


@dataclass(frozen=True, slots=True, kw_only=True)
class Advert:
    """What one peer offers. The peer itself is named by the signature around it."""

    sequence: int = 0
    """Rises with every issue; like both times, filled in by whoever issues the advert."""
    issued_at: int = 0
    """Unix seconds."""
    expires_at: int = 0
    """Unix seconds."""
    name: str
    """What the owner calls the machine."""
    device: DeviceAdvert
    up_bits: int = 0
    """Measured uplink, bit/s; 0: not measured."""
    down_bits: int = 0
    """Measured downlink, bit/s; 0: not measured."""
    price: int = 0
    """Micro-credits per 10^12 operations."""
    accepts: str = "self"
    """Whose jobs it takes, one of POLICIES."""
    max_stages: int = 1
    free_stages: int = 1
    """How many more stages it would take now."""
    addresses: tuple[str, ...] = ()
    """Multiaddresses without ``/p2p``."""
    tensor_port: int = 0
    """TCP port of the tensor channel; 0: none."""
    version: str = "0"
    """Of the software."""

    def __post_init__(self) -> None:
        """Raises ValueError for an advert no honest peer issues."""
        _check_text("name", self.name, 64)
        _check_text("version", self.version, 32)
        _check_range("sequence", self.sequence, 0, 1 << 62)
        _check_range("issue time", self.issued_at, 0, 1 << 40)
        _check_range("lifetime", self.expires_at - self.issued_at, 0, MAX_LIFETIME)
        for what, number in (("uplink", self.up_bits), ("downlink", self.down_bits), ("price", self.price)):
            _check_range(what, number, 0, _MAX_QUANTITY)
        if self.accepts not in POLICIES:
            raise ValueError(f"policy {self.accepts[:20]!r} is none of {', '.join(POLICIES)}")
        _check_range("stage limit", self.max_stages, 0, 1024)
        _check_range("number of free stages", self.free_stages, 0, self.max_stages)
        _check_range("tensor port", self.tensor_port, 0, 65535)
        _check_range("number of addresses", len(self.addresses), 0, MAX_ADDRESSES)
        if not all(map(is_dialable, self.addresses)):
            raise ValueError("an address that cannot be dialled")


@dataclass(frozen=True, slots=True)
class PeerAdvert:
    """A verified advert, who signed it, and the bytes to pass on."""

    peer: PeerId
    advert: Advert
    raw: bytes


def sign_advert(advert: Advert, network: NetworkId, signer: PeerId, key: Sign) -> bytes:
    """The signed bytes of an advert. Raises ValueError if they exceed MAX_ADVERT_BYTES."""
    raw = sign(ADVERT_TAG, network, signer, key, to_value(advert)).to_bytes()
    if len(raw) > MAX_ADVERT_BYTES:
        raise ValueError(f"an advert of {len(raw)} bytes is over the limit of {MAX_ADVERT_BYTES}")
    return raw


def verify_advert(raw: bytes, network: NetworkId, now: float, owner: PeerId | None = None) -> PeerAdvert:
    """The advert in signed bytes, if it is to be believed at Unix time ``now``.

    Raises:
        BadAdvert: too large, malformed, signed by another than ``owner`` (when given) or for another
            network, issued in the future, or expired.
    """
    if len(raw) > MAX_ADVERT_BYTES:
        raise BadAdvert("oversized", f"{len(raw)} bytes")
    with _refused_as("malformed"):
        statement = parse_signed(raw, limit=MAX_ADVERT_BYTES)
        public_key_of(statement.signer)
    if owner is not None and statement.signer != owner:
        raise BadAdvert("forged", "signed by another peer than the one it is about")
    with _refused_as("forged"):
        body = verify(ADVERT_TAG, network, statement, limit=MAX_ADVERT_BYTES)
    with _refused_as("malformed"):
        advert = from_value(Advert, body)
    _check_time(advert, now)
    return PeerAdvert(statement.signer, advert, raw)


def advert_key(peer: PeerId) -> str:
    """Where the hash table keeps a peer's advert."""
    return f"/swarmd/{peer}"


def record_check(network: NetworkId, clock: Callable[[], float]) -> Callable[[str, bytes], int]:
    """The hash table's rule: (key, value) -> sequence number; raises ProtocolViolation.

    Only the peer named in the key can write there, since only it can sign. ``clock`` gives Unix time.
    """

    def check(key: str, value: bytes) -> int:
        peer = PeerId(key.removeprefix("/swarmd/"))
        if advert_key(peer) != key:
            raise ProtocolViolation("not the key of an advert")
        return verify_advert(value, network, clock(), peer).advert.sequence

    return check


def _check_time(advert: Advert, now: float) -> None:
    if advert.issued_at > now + CLOCK_SKEW:
        raise BadAdvert("early", f"issued {advert.issued_at - now:.0f} s in the future")
    if advert.expires_at <= now:
        raise BadAdvert("expired", f"{now - advert.expires_at:.0f} s ago")


def _check_text(what: str, text: str, limit: int) -> None:
    if not 0 < len(text) <= limit or not text.isprintable() or text != text.strip():
        raise ValueError(f"the {what} is not 1 to {limit} printable characters")


def _check_range(what: str, number: int, least: int, most: int) -> None:
    if not least <= number <= most:
        raise ValueError(f"the {what} {number} is not from {least} to {most}")


@contextmanager
def _refused_as(reason: BadReason) -> Generator[None]:
    try:
        yield
    except ProtocolViolation as error:
        raise BadAdvert(reason, error.message) from error
