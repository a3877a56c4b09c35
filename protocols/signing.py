"""Signed statements: a body, its signer, and a signature that covers a domain tag and the network.

The body travels as the raw bytes that were signed, and is kept and hashed as those bytes. A signature
made for one kind of statement, or on one network, is worth nothing on another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from swarmd.protocols.canonical import Value, decode, encode
from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.ids import NetworkId, PeerId, public_key_of

Sign = Callable[[bytes], bytes]
"""Makes a 64-byte Ed25519 signature; the private key stays with whoever built this."""


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement by ``signer``; ``body`` is canonical, and exactly what was signed."""

    signer: PeerId
    body: bytes
    signature: bytes

    def to_bytes(self) -> bytes:
        """The wire form."""
        return encode((self.signer, self.body, self.signature))


def sign(tag: str, network: NetworkId, signer: PeerId, key: Sign, body: Value) -> Signed:
    """Sign a body for one purpose (``tag``, such as ``swarmd/advert/1``) on one network."""
    raw = encode(body)
    return Signed(signer, raw, key(_message(tag, network, raw)))


def verify(tag: str, network: NetworkId, statement: Signed, *, limit: int) -> Value:
    """The body of a statement, once its signature holds.

    Raises:
        ProtocolViolation: not signed by ``statement.signer`` for this tag and network, or malformed.
    """
    check_signature(tag, network, statement)
    return decode(statement.body, limit=limit)


def check_signature(tag: str, network: NetworkId, statement: Signed) -> None:
    """Check a statement whose body is known already. Raises ProtocolViolation."""
    try:
        _key_of(statement.signer).verify(statement.signature, _message(tag, network, statement.body))
    except InvalidSignature:
        raise ProtocolViolation(f"the signature on a {tag} statement does not hold") from None


def statement_id(tag: str, network: NetworkId, body: bytes) -> str:
    """SHA-256 of exactly what a signature covers: the signature itself is no part of the id."""
    return hashlib.sha256(_message(tag, network, body)).hexdigest()


@lru_cache(maxsize=4096)
def _key_of(signer: PeerId) -> Ed25519PublicKey:
    return Ed25519PublicKey.from_public_bytes(public_key_of(signer))


def parse_signed(raw: bytes, *, limit: int) -> Signed:
    """Read the wire form; the signature is not yet checked. Raises ProtocolViolation."""
    match decode(raw, limit=limit):
        case (str(signer), bytes(body), bytes(signature)) if len(signature) == 64:
            return Signed(PeerId(signer), body, signature)
        case _:
            raise ProtocolViolation("not a signed statement")


def _message(tag: str, network: NetworkId, body: bytes) -> bytes:
    return encode((tag, network, body))
