"""Which network a node is on: its genesis, and the key of a private one.

Everything signed carries the network's id, so nothing said on one network counts on another.
"""

from __future__ import annotations

import base64
import json
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

from swarmd.paths import Paths, check_private, private_folder
from swarmd.protocols.addresses import parse_contact
from swarmd.protocols.errors import ProtocolViolation, StateError, UsageError
from swarmd.protocols.ids import NetworkId, is_hash
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.protocols.ledger.genesis import Genesis, parse_genesis
from swarmd.tomlfile import TomlFile, read_toml

FIELDS = ("name", "genesis", "psk", "contacts")
PSK_BYTES = 32
CURE = (
    "type: swarmd network join INVITE (another node of the network prints one: `network invite`); "
    "or put the file back from a copy, or the whole node from its backup: swarmd key restore FILE --force"
)
"""What to do with a damaged file. Without it the next start would be on the main network."""
MAX_CONTACTS = 16


@dataclass(frozen=True, slots=True)
class Network:
    """A network of nodes that talk to each other."""

    genesis: Genesis
    """What it begins with: its name, the first credits, the first committee."""
    psk: bytes | None = field(default=None, repr=False)
    """32 bytes that a private network's nodes share; None: anybody may join."""
    contacts: tuple[str, ...] = field(default=(), compare=False)
    """Nodes of it to meet first, as ADDRESS/p2p/PEER."""
    id: NetworkId = field(init=False)
    """The hash of the genesis: the same on every node of the network."""

    def __post_init__(self) -> None:
        if self.psk is not None and len(self.psk) != PSK_BYTES:
            raise ValueError(f"a pre-shared key has {PSK_BYTES} bytes")
        if len(self.contacts) > MAX_CONTACTS:
            raise ValueError(f"a network has at most {MAX_CONTACTS} first contacts")
        object.__setattr__(self, "id", self.genesis.id)

    @property
    def name(self) -> str:
        """For people; 1 to 32 of a-z, 0-9, ``-``."""
        return self.genesis.name


MAIN = Network(Genesis(name="main", salt=b"swarmd: train one model on many home GPUs"))
"""The network a node joins unless told otherwise: work there is free, and there are no credits."""


def load_or_create_network(paths: Paths) -> Network:
    """The node's network; the first start writes the default one.

    Raises:
        UsageError: the file does not describe a network; the message names file, line and field.
        StateError: it holds a pre-shared key and others can read it, or it cannot be written.
    """
    found = load_network(paths)
    if found is None:
        save_network(paths, MAIN)
    return found or MAIN


def load_network(paths: Paths) -> Network | None:
    """The node's network, or None where it has not chosen one yet. Raises as ``load_or_create_network``."""
    try:
        found = read_toml(paths.network)
    except UsageError as error:
        raise UsageError(error.message, hint=CURE) from error
    return None if found is None else network_of(found)


def save_network(paths: Paths, network: Network) -> None:
    """Write ``network.toml``, whole or not at all, readable by its owner only. Raises StateError."""
    private_folder(paths.state_dir)
    try:
        _replace(paths.network, as_toml(network))
    except OSError as error:
        raise StateError(
            f"cannot write {paths.network}: {error.strerror}",
            hint="free disk space or choose another --state-dir",
        ) from error


def with_contacts(network: Network, contacts: tuple[str, ...]) -> Network:
    """The network with these contacts before the ones it had, as far as there is room."""
    return replace(network, contacts=tuple(dict.fromkeys((*contacts, *network.contacts)))[:MAX_CONTACTS])


def as_toml(network: Network) -> str:
    """The text of ``network.toml``: the genesis, and in comments what it says."""
    lines = [*(f"# {line}" for line in described(network)), f"name = {json.dumps(network.name)}"]
    lines.append(f'genesis = "{base64.b64encode(network.genesis.to_bytes()).decode()}"')
    if network.psk is not None:
        lines.append(f'psk = "{network.psk.hex()}"')
    if network.contacts:
        lines.append(f"contacts = {json.dumps(network.contacts)}")
    return "\n".join(lines) + "\n"


def described(network: Network) -> Iterator[str]:
    """What a network is, line by line."""
    genesis = network.genesis
    yield f"network {network.id}"
    yield "private: only who has its pre-shared key can connect" if network.psk else "open: anybody may connect"
    if not genesis.committee:
        yield "no credits: work here is free"
        return
    yield f"supply: {format_credits(genesis.supply)} credits"
    for grant in genesis.grants:
        yield f"  {format_credits(grant.amount)} to {grant.account}"
    yield f"operator, whose key changes the committee: {genesis.operator}"
    yield "first committee:"
    for member in genesis.committee:
        yield f"  {member.peer}, weight {member.weight}"


def network_of(file: TomlFile) -> Network:
    """The network that a file describes. Raises UsageError, StateError."""
    file.only(FIELDS)
    name = _text(file, "name")
    genesis = _genesis(file, _text(file, "genesis"))
    if name != genesis.name:
        raise UsageError(
            f"{file.where('name')}: name = {name[:80]!r}, and the genesis is that of {genesis.name!r}",
            hint=f"write name = {json.dumps(genesis.name)}, or put the genesis of {name[:80]!r} there",
        )
    return Network(genesis, _psk(file), _contacts(file))


def _genesis(file: TomlFile, text: str) -> Genesis:
    where = file.where("genesis")
    if is_hash(text):
        raise UsageError(
            f"{where}: genesis is the id of a network, as earlier versions wrote it, and not the genesis itself",
            hint=f"move {file.path} away: the next start joins the main network; "
            "to join another one: swarmd network join INVITE",
        )
    try:
        raw = base64.b64decode(text, validate=True)
        if base64.b64encode(raw).decode() != text:
            raise ProtocolViolation("not canonical base64")
        return parse_genesis(raw)
    except (ValueError, ProtocolViolation) as error:
        raise UsageError(
            f"{where}: genesis is not a network's: {error}",
            hint=CURE,
        ) from error


def _psk(file: TomlFile) -> bytes | None:
    if "psk" not in file.values:
        return None
    psk = _text(file, "psk")
    if not is_hash(psk):
        raise UsageError(
            f"{file.where('psk')}: psk is not a pre-shared key", hint="psk is 64 hexadecimal characters, lower case"
        )
    check_private(file.path, file.path.stat(), "600")
    return bytes.fromhex(psk)


def _contacts(file: TomlFile) -> tuple[str, ...]:
    found = file.values.get("contacts", [])
    if not isinstance(found, list) or len(found) > MAX_CONTACTS or not all(isinstance(each, str) for each in found):
        raise UsageError(
            f"{file.where('contacts')}: contacts is not a list of addresses",
            hint=f"it holds at most {MAX_CONTACTS}, each as `swarmd id --addresses` prints it; or leave the line out",
        )
    try:
        for each in found:
            parse_contact(each)
    except UsageError as error:
        raise UsageError(f"{file.where('contacts')}: {error.message}", hint=error.hint) from error
    return tuple(dict.fromkeys(found))


def _text(file: TomlFile, key: str) -> str:
    if key not in file.values:
        raise UsageError(f"{file.path} has no {key!r}", hint=CURE)
    value = file.values[key]
    if not isinstance(value, str):
        shown = "" if key == "psk" else f" = {str(value)[:80]!r}"
        raise UsageError(f"{file.where(key)}: {key}{shown} is not a text", hint=f'write {key} = "..."')
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
