"""Names of things: peers, specs, runs, blobs; and how each is derived.

A hash id is 64 lower-case hexadecimal characters. A peer id is libp2p's: base58 of an identity
multihash over the Ed25519 public key, so the key can be read back out of the id.
"""

from __future__ import annotations

import hashlib
import re
from functools import lru_cache
from typing import NewType

import base58

from swarmd.protocols.canonical import Value, encode
from swarmd.protocols.errors import ProtocolViolation

PeerId = NewType("PeerId", str)
NetworkId = NewType("NetworkId", str)
"""SHA-256 of the network's genesis; part of everything that is signed."""
SpecId = NewType("SpecId", str)
RunId = NewType("RunId", str)
EntryId = NewType("EntryId", str)
"""SHA-256 of what the owner of an account signs."""
BlobHash = NewType("BlobHash", str)
"""BLAKE3-256 of the content."""

_HEX64 = re.compile(r"[0-9a-f]{64}")
_ED25519_PEER_PREFIX = bytes((0x00, 0x24, 0x08, 0x01, 0x12, 0x20))


def is_hash(text: str) -> bool:
    """Whether the text has the form of a hash id."""
    return _HEX64.fullmatch(text) is not None


def tagged_hash(tag: str, value: Value) -> str:
    """SHA-256 over a domain tag and a canonical value: no two kinds of thing can share an id."""
    return hashlib.sha256(tag.encode() + b"\0" + encode(value)).hexdigest()


def peer_id_of(public_key: bytes) -> PeerId:
    """The peer id of a 32-byte Ed25519 public key."""
    if len(public_key) != 32:
        raise ValueError("an Ed25519 public key has 32 bytes")
    return PeerId(base58.b58encode(_ED25519_PEER_PREFIX + public_key).decode())


@lru_cache(maxsize=4096)
def public_key_of(peer: PeerId) -> bytes:
    """The Ed25519 public key inside a peer id. Raises ProtocolViolation for any other kind of id."""
    if len(peer) > 60:
        raise ProtocolViolation("a peer id is longer than any Ed25519 peer id")
    try:
        raw = base58.b58decode(peer)
    except ValueError as error:
        raise ProtocolViolation(f"not a peer id: {error}") from error
    if len(raw) != 38 or not raw.startswith(_ED25519_PEER_PREFIX):
        raise ProtocolViolation("not the peer id of an Ed25519 key")
    if peer_id_of(raw[6:]) != peer:  # base58 decoding strips spaces at the end
        raise ProtocolViolation("not a peer id: a second spelling of its key")
    return raw[6:]


def run_id_of(network: NetworkId, spec: SpecId, submitter: PeerId, nonce: bytes) -> RunId:
    """The id of one execution of a spec."""
    return RunId(tagged_hash("swarmd/run/1", (network, spec, submitter, nonce)))


def short(identifier: str) -> str:
    """A spelling for people: the last eight characters of a peer id, the first eight of a hash."""
    return identifier[:8] if is_hash(identifier) else identifier[-8:]
