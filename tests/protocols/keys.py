"""Identities and adverts for tests; the same every time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmd.protocols.advert import Advert, DeviceAdvert, sign_advert
from swarmd.protocols.ids import NetworkId, PeerId, peer_id_of
from swarmd.protocols.signing import Sign

NETWORK = NetworkId("5a" * 32)
OTHER_NETWORK = NetworkId("a5" * 32)
NOW = 1_700_000_000

DEVICE = DeviceAdvert(
    kind="cpu",
    name="8-core CPU",
    memory_bytes=1 << 34,
    flops=10**11,
    threads=1,
    numerics="torch 2.13 avx2",
)


@dataclass(frozen=True, slots=True)
class Who:
    """An identity."""

    seed: bytes
    peer: PeerId
    sign: Sign


def who(number: int) -> Who:
    """The identity of that number."""
    seed = number.to_bytes(32, "big")
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return Who(seed, peer_id_of(key.public_key().public_bytes_raw()), key.sign)


def advert(**changes: Any) -> Advert:
    """A good advert, issued at NOW for an hour."""
    fields = {"sequence": 1, "issued_at": NOW, "expires_at": NOW + 3600, "name": "attic", "device": DEVICE}
    return Advert(**{**fields, **changes})


def signed(owner: Who, network: NetworkId = NETWORK, **changes: Any) -> bytes:
    """A good advert's bytes, signed by ``owner``."""
    return sign_advert(advert(**changes), network, owner.peer, owner.sign)
