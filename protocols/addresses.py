"""Multiaddresses as text: which ones are worth dialling, and what a user may name as a first contact."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId, public_key_of

MAX_ADDRESS_CHARS = 200

_ADDRESS = re.compile(r"/(ip4|ip6|dns|dns4|dns6)/([0-9A-Za-z.:_-]{1,180})/tcp/([1-9][0-9]{0,4})", re.ASCII)
_IN_PROCESS = re.compile(r"/memory/[1-9A-HJ-NP-Za-km-z]{1,60}", re.ASCII)
_LABEL = re.compile(r"[0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Contact:
    """A peer and where it may be reached; nothing here is proven before a dial succeeds."""

    peer: PeerId
    addresses: tuple[str, ...]


def is_dialable(address: str) -> bool:
    """Whether an address is ``/{ip4,ip6,dns,dns4,dns6}/HOST/tcp/PORT`` and names one host and a real port.

    Also ``/memory/PEER``, of the network within one process; no other transport can dial it.
    """
    if _IN_PROCESS.fullmatch(address):
        return True
    match = _ADDRESS.fullmatch(address) if len(address) <= MAX_ADDRESS_CHARS else None
    if match is None or int(match[3]) > 65535:
        return False
    family, host = match[1], match[2]
    if family.startswith("dns"):
        return all(_LABEL.fullmatch(label) for label in host.split("."))
    return _names_one_host(host, 4 if family == "ip4" else 6)


def parse_contact(text: str) -> Contact:
    """The contact written ``ADDRESS/p2p/PEER``, as ``swarmd status`` prints it. Raises UsageError."""
    address, found, peer = text.strip().rpartition("/p2p/")
    if not found:
        raise _not_a_contact(text, "it does not end in /p2p/ and a peer id")
    try:
        public_key_of(PeerId(peer))
    except ProtocolViolation as error:
        raise _not_a_contact(text, error.message) from error
    if not is_dialable(address):
        raise _not_a_contact(text, "its address cannot be dialled")
    return Contact(PeerId(peer), (address,))


def merged(contacts: tuple[Contact, ...]) -> tuple[Contact, ...]:
    """The same contacts with all addresses of one peer in one place, in order of first mention."""
    found: dict[PeerId, dict[str, None]] = {}
    for contact in contacts:
        found.setdefault(contact.peer, {}).update(dict.fromkeys(contact.addresses))
    return tuple(Contact(peer, tuple(addresses)) for peer, addresses in found.items())


def _names_one_host(host: str, version: int) -> bool:
    try:
        ip = ipaddress.ip_address(host)
    except ValueError:
        return False
    return ip.version == version and not (ip.is_unspecified or ip.is_multicast)


def _not_a_contact(text: str, why: str) -> UsageError:
    return UsageError(
        f"not the address of a node: {text[:MAX_ADDRESS_CHARS]!r}: {why}",
        hint="write it as `swarmd status` shows it on that node, such as /ip4/192.0.2.7/tcp/4001/p2p/12D3...",
    )
