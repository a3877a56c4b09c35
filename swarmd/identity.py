"""Who this node is: an Ed25519 key in a file only its owner can read."""

from __future__ import annotations

import errno
import os
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from swarmd.paths import Paths, check_private, private_folder
from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import PeerId, peer_id_of
from swarmd.protocols.signing import Sign

MAX_KEY_FILE_BYTES = 4096


@dataclass(frozen=True, slots=True)
class Identity:
    """A peer id with the means to prove it."""

    peer: PeerId
    seed: bytes = field(repr=False)
    """32 bytes: the private key."""
    sign: Sign = field(repr=False)


def identity_of(seed: bytes) -> Identity:
    """The identity of a 32-byte Ed25519 seed."""
    key = Ed25519PrivateKey.from_private_bytes(seed)
    return Identity(peer_id_of(key.public_key().public_bytes_raw()), seed, key.sign)


def load_identity(paths: Paths) -> Identity:
    """The node's identity, from its key file.

    Raises:
        StateError: no key file, a link, another's, open to others, or not an Ed25519 key.
    """
    raw = _read_key_file(paths.key)
    try:
        key = load_pem_private_key(raw, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise _damaged(paths.key) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _damaged(paths.key)
    return identity_of(key.private_bytes_raw())


def load_or_create_identity(paths: Paths) -> Identity:
    """The node's identity; the first call on a state folder makes its key. Raises StateError."""
    private_folder(paths.state_dir)
    create_key_file(paths.key)
    return load_identity(paths)


def create_key_file(place: Path) -> None:
    """Make a new key file, unless something is there already. Raises StateError.

    It gets its name only when it is whole and on disk, and by a link, which never replaces a file: of two
    processes that race, both end up with the same key.
    """
    if os.path.lexists(place):
        return
    with suppress(FileExistsError):
        _write_key(place, Ed25519PrivateKey.generate())


def restore_key_file(place: Path, seed: bytes) -> None:
    """Put a key that there was before into a new key file. Raises StateError, also where something is already."""
    try:
        _write_key(place, Ed25519PrivateKey.from_private_bytes(seed))
    except FileExistsError as error:
        raise StateError(
            f"there is a key at {place} already", hint="choose another --state-dir; a key is never overwritten"
        ) from error


def _write_key(place: Path, key: Ed25519PrivateKey) -> None:
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        _link_into_place(place, pem)
    except FileExistsError:
        raise
    except OSError as error:
        raise StateError(
            f"cannot write the key {place}: {error.strerror}", hint="choose a --state-dir you can write to"
        ) from error


def _link_into_place(place: Path, content: bytes) -> None:
    handle, beside = tempfile.mkstemp(dir=place.parent, prefix=".key-")  # made with mode 0600
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(beside, place)
    finally:
        os.unlink(beside)
    _sync_folder(place.parent)


def _sync_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def open_key_file(place: Path) -> int:
    """A descriptor of the key file itself, never of what a link points to. Raises StateError."""
    try:
        handle = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except FileNotFoundError:
        raise StateError(f"there is no key at {place}", hint="the first start makes one: swarmd up") from None
    except OSError as error:
        why = "it is a symbolic link" if error.errno == errno.ELOOP else error.strerror
        raise StateError(
            f"cannot open the key {place}: {why}", hint=f"put the key file itself at {place}, with mode 600"
        ) from error
    try:
        _check_key_file(place, os.fstat(handle))
    except StateError:
        os.close(handle)
        raise
    return handle


def _check_key_file(place: Path, facts: os.stat_result) -> None:
    if not stat.S_ISREG(facts.st_mode):
        raise StateError(f"the key {place} is not a plain file", hint="move it away and put the key file there")
    check_private(place, facts, "600")
    if facts.st_size > MAX_KEY_FILE_BYTES:
        raise _damaged(place)


def _read_key_file(place: Path) -> bytes:
    with os.fdopen(open_key_file(place), "rb") as file:
        return file.read(MAX_KEY_FILE_BYTES)


def _damaged(place: Path) -> StateError:
    return StateError(
        f"{place} does not hold an Ed25519 private key (truncated, damaged, or of another kind)",
        hint="restore it from a backup, or move it away: the next start makes a new key and peer id",
    )
