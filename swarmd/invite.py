"""Invites: one line of text that lets a node join a network.

``swarmd1-`` and base64url without padding of a canonical value (genesis, pre-shared key or None, contacts)
with eight bytes of checksum after it. Who has an invite to a private network can connect to it.
"""

from __future__ import annotations

import base64
import hashlib
import re

from swarmd.network import MAX_CONTACTS, Network
from swarmd.protocols.addresses import parse_contact
from swarmd.protocols.canonical import Value, decode, encode
from swarmd.protocols.errors import ProtocolViolation, SwarmdError, UsageError
from swarmd.protocols.ledger.genesis import MAX_GENESIS_BYTES, parse_genesis

PREFIX = "swarmd1-"
CHECK_BYTES = 8
MAX_RAW_BYTES = MAX_GENESIS_BYTES + 8192
MAX_INVITE_CHARS = len(PREFIX) + 4 * (MAX_RAW_BYTES + CHECK_BYTES) // 3 + 4
_VERSION = re.compile(r"swarmd(\d{1,4})-")
_LETTERS = re.compile(r"[A-Za-z0-9_-]*", re.ASCII)


def invite_of(network: Network) -> str:
    """The text that others join with: the network's genesis, pre-shared key and first contacts."""
    raw = encode((network.genesis.to_bytes(), network.psk, network.contacts))
    return PREFIX + base64.urlsafe_b64encode(raw + _check(raw)).decode().rstrip("=")


def parse_invite(text: str) -> Network:
    """The network that an invite leads to. Raises UsageError, which never repeats the invite."""
    text = text.strip()
    found = _VERSION.match(text)
    if found is None:
        raise UsageError(
            "this is not an invite", hint=f"an invite begins with {PREFIX}; on the other node: swarmd network invite"
        )
    if found[0] != PREFIX:
        raise UsageError(
            f"this invite is of version {found[1]}, and this swarmd reads version 1",
            hint="install the version of swarmd that the inviting node runs",
        )
    try:
        return _network(decode(_raw(text[len(PREFIX) :]), limit=MAX_RAW_BYTES))
    except (SwarmdError, ValueError) as error:
        raise UsageError(f"this invite is damaged: {error}", hint="copy it again, the whole line") from error


def _raw(letters: str) -> bytes:
    if len(letters) > MAX_INVITE_CHARS or not _LETTERS.fullmatch(letters) or len(letters) % 4 == 1:
        raise ValueError("it holds what no invite does, or is too long or too short")
    whole = base64.urlsafe_b64decode(letters + "=" * (-len(letters) % 4))
    raw, check = whole[:-CHECK_BYTES], whole[-CHECK_BYTES:]
    if check != _check(raw) or base64.urlsafe_b64encode(whole).decode().rstrip("=") != letters:
        raise ValueError("a letter is wrong or missing")
    return raw


def _check(raw: bytes) -> bytes:
    return hashlib.sha256(b"swarmd/invite/1\0" + raw).digest()[:CHECK_BYTES]


def _network(value: Value) -> Network:
    if not isinstance(value, tuple) or len(value) != 3:
        raise ProtocolViolation("it has other parts than an invite")
    genesis, psk, contacts = value
    if not isinstance(genesis, bytes) or not (psk is None or isinstance(psk, bytes)):
        raise ProtocolViolation("it holds no genesis")
    if not isinstance(contacts, tuple) or len(contacts) > MAX_CONTACTS:
        raise ProtocolViolation("it holds no list of contacts")
    return Network(parse_genesis(genesis), psk, tuple(_contact(each) for each in contacts))


def _contact(text: Value) -> str:
    if not isinstance(text, str):
        raise ProtocolViolation("a contact is a text")
    parse_contact(text)
    return text
