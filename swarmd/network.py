"""Which network a node is on: its name, the hash of its genesis, and the key of a private one.

Everything signed carries the network's id, so nothing said on one network counts on another.
"""

from __future__ import annotations

import json
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from swarmd.paths import Paths, check_private, private_folder
from swarmd.protocols.errors import StateError, UsageError
from swarmd.protocols.ids import NetworkId, is_hash, tagged_hash
from swarmd.tomlfile import TomlFile, read_toml

MAIN_GENESIS = ("main", b"swarmd: train one model on many home GPUs")
"""The genesis of the default network: its name and a constant. Changing either makes another network."""
MAX_NAME = 32
FIELDS = ("name", "genesis", "psk")


def is_network_name(name: str) -> bool:
    """Whether a text can name a network."""
    return 1 <= len(name) <= MAX_NAME and all(letter in "abcdefghijklmnopqrstuvwxyz0123456789-" for letter in name)


@dataclass(frozen=True, slots=True)
class Network:
    """A network of nodes that talk to each other."""

    name: str
    """For people; 1 to 32 of a-z, 0-9, ``-``."""
    id: NetworkId
    """SHA-256 of the genesis: the same on every node of the network."""
    psk: bytes | None = field(default=None, repr=False)
    """32 bytes that a private network's nodes share; None: anybody may join."""

    def __post_init__(self) -> None:
        if not is_network_name(self.name):
            raise ValueError(f"a network's name is 1 to {MAX_NAME} of a-z, 0-9 and '-'")
        if not is_hash(self.id):
            raise ValueError("a network's id is 64 hexadecimal characters")
        if self.psk is not None and len(self.psk) != 32:
            raise ValueError("a pre-shared key has 32 bytes")


def genesis_id(name: str, salt: bytes) -> NetworkId:
    """The id of the network with this genesis."""
    return NetworkId(tagged_hash("swarmd/genesis/1", (name, salt)))


MAIN = Network("main", genesis_id(*MAIN_GENESIS))
"""The network a node joins unless told otherwise."""


def new_private_network(name: str) -> Network:
    """A network nobody else is on: fresh genesis, fresh pre-shared key. Others join with a copy of its file.

    Raises:
        UsageError: the name is not 1 to 32 of a-z, 0-9 and ``-``.
    """
    if not is_network_name(name):
        raise UsageError(f"{name!r} cannot name a network", hint=f"use 1 to {MAX_NAME} of a-z, 0-9 and '-'")
    return Network(name, genesis_id(name, secrets.token_bytes(32)), secrets.token_bytes(32))


def load_or_create_network(paths: Paths) -> Network:
    """The node's network; the first start writes the default one.

    Raises:
        UsageError: the file does not describe a network; the message names file, line and field.
        StateError: it holds a pre-shared key and others can read it, or it cannot be written.
    """
    found = read_toml(paths.network)
    if found is None:
        save_network(paths, MAIN)
        return MAIN
    return _network_of(found)


def save_network(paths: Paths, network: Network) -> None:
    """Write ``network.toml``, whole or not at all, readable by its owner only. Raises StateError."""
    private_folder(paths.state_dir)
    lines = [f"name = {json.dumps(network.name)}", f"genesis = {json.dumps(network.id)}"]
    if network.psk is not None:
        lines.append(f'psk = "{network.psk.hex()}"')
    try:
        _replace(paths.network, "\n".join(lines) + "\n")
    except OSError as error:
        raise StateError(
            f"cannot write {paths.network}: {error.strerror}",
            hint="free disk space or choose another --state-dir",
        ) from error


def _network_of(file: TomlFile) -> Network:
    file.only(FIELDS)
    name = _text(file, "name", f"1 to {MAX_NAME} of a-z, 0-9 and '-'", is_network_name)
    genesis = _text(file, "genesis", "64 hexadecimal characters, lower case", is_hash)
    if "psk" not in file.values:
        return Network(name, NetworkId(genesis))
    psk = _text(file, "psk", "64 hexadecimal characters, lower case", is_hash)
    check_private(file.path, file.path.stat(), "600")
    return Network(name, NetworkId(genesis), bytes.fromhex(psk))


def _text(file: TomlFile, key: str, right: str, fits: Callable[[str], bool]) -> str:
    if key not in file.values:
        raise UsageError(f"{file.path} has no {key!r}", hint=f"add {key} = ... ({right}), or delete the file")
    value = file.values[key]
    if not isinstance(value, str) or not fits(value):
        shown = "" if key == "psk" else f" = {value!r}"
        raise UsageError(f"{file.where(key)}: {key}{shown} is not a network's", hint=f"{key} is {right}")
    return value


def _replace(place: Path, text: str) -> None:
    handle, beside = tempfile.mkstemp(dir=place.parent, prefix=".network-")  # made with mode 0600
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, place)
    except BaseException:
        os.unlink(beside)
        raise
