"""The file of a backup: one node, encrypted with a passphrase.

A first line that names the format, the length of the canonical header (scrypt's cost and salt, the nonce) in four
bytes, the header, then AES-256-GCM over the canonical content with everything before it as associated data. The key
of the cipher is scrypt (RFC 7914) of the passphrase.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from swarmd.protocols.canonical import decode, encode
from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.records import from_value, to_value

MAGIC = b"swarmd backup 1\n"
MAX_HEADER_BYTES = 256
MAX_BACKUP_BYTES = 1 << 30
MIN_PASSPHRASE, MAX_PASSPHRASE = 8, 1024
USUAL_COST = 1 << 17
"""128 MiB and about half a second for each guess."""
_COSTS = (1 << 12, 1 << 18)
_BLOCK = 8
_LENGTH = 4


@dataclass(frozen=True, slots=True)
class Backup:
    """What a backup holds."""

    peer: PeerId
    seed: bytes = field(repr=False)
    """32 bytes: the private key."""
    network: str = field(repr=False)
    """An invite to its network; empty if the node had not chosen one."""
    account: bytes = field(repr=False)
    """A copy of self.db; empty if there was none."""
    created: int
    """Unix seconds."""


@dataclass(frozen=True, slots=True)
class _Header:
    cost: int
    salt: bytes
    nonce: bytes

    def __post_init__(self) -> None:
        low, high = _COSTS
        if not low <= self.cost <= high or self.cost & (self.cost - 1):
            raise ValueError("an impossible cost")
        if len(self.salt) != 16 or len(self.nonce) != 12:
            raise ValueError("an impossible salt or nonce")


def seal(backup: Backup, passphrase: str, *, cost: int = USUAL_COST) -> bytes:
    """The file's bytes. Raises UsageError for a passphrase that is too short or too long."""
    header = _Header(cost, secrets.token_bytes(16), secrets.token_bytes(12))
    head = encode(to_value(header))
    front = MAGIC + len(head).to_bytes(_LENGTH, "big") + head
    return front + AESGCM(_derive(passphrase, header)).encrypt(header.nonce, encode(to_value(backup)), front)


def unseal(raw: bytes, passphrase: str) -> Backup:
    """What the file holds. Raises UsageError: not a backup, a wrong passphrase, or a damaged file."""
    if not raw.startswith(MAGIC):
        raise UsageError("this is not a swarmd backup", hint="give the file that `swarmd key backup` wrote")
    begin = len(MAGIC) + _LENGTH
    end = begin + int.from_bytes(raw[len(MAGIC) : begin], "big")
    try:
        header = from_value(_Header, decode(raw[begin:end], limit=MAX_HEADER_BYTES))
        content = AESGCM(_derive(passphrase, header)).decrypt(header.nonce, raw[end:], raw[:end])
        return from_value(Backup, decode(content, limit=MAX_BACKUP_BYTES))
    except InvalidTag as error:
        raise UsageError(
            "the passphrase is wrong, or the backup is damaged", hint="try again; upper and lower case count"
        ) from error
    except ProtocolViolation as error:
        raise UsageError(f"the backup is damaged: {error.message}", hint="use another copy of it") from error


def check_passphrase(passphrase: str) -> None:
    """Raises UsageError for one that is too short or too long."""
    size = len(passphrase.encode())
    if not MIN_PASSPHRASE <= size <= MAX_PASSPHRASE:
        raise UsageError(
            f"a passphrase has {MIN_PASSPHRASE} to {MAX_PASSPHRASE} bytes, and this one {size}",
            hint="several words that nobody would guess are a good one",
        )


def _derive(passphrase: str, header: _Header) -> bytes:
    check_passphrase(passphrase)
    return Scrypt(salt=header.salt, length=32, n=header.cost, r=_BLOCK, p=1).derive(passphrase.encode())
