"""What each setting may be: one rule per name, which gives the value's final form or says what is right.

A rule raises ValueError whose text completes "it must be ...".
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping
from typing import Any

from swarmd.protocols.addresses import parse_contact
from swarmd.protocols.errors import ProtocolViolation, UsageError
from swarmd.protocols.ids import PeerId, public_key_of
from swarmd.protocols.ledger.amounts import MAX_AMOUNT

Rule = Callable[[object], Any]

MAX_ITEMS = 64
MAX_NAME_BYTES = 64
_LISTEN = re.compile(r"/(ip4|ip6)/([0-9a-fA-F.:]+)/tcp/([0-9]{1,5})", re.ASCII)
_SIZE = re.compile(r"([0-9]{1,9})\s*(B|kB|MB|GB|TB|KiB|MiB|GiB|TiB)", re.ASCII)
_UNITS = {
    "B": 1,
    **{f"{p}B": 1000**n for n, p in enumerate("kMGT", 1)},
    **{f"{p}iB": 1024**n for n, p in enumerate("KMGT", 1)},
}
_WORDS = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


def from_text(default: object, text: str) -> object:
    """A value typed on a command line or in the environment, by the type of the setting's default.

    A list is separated by commas. Text of no such form comes back as it is, for the rule to refuse.
    """
    if isinstance(default, bool):
        return _WORDS.get(text.strip().lower(), text)
    if isinstance(default, tuple):
        return [part.strip() for part in text.split(",") if part.strip()]
    if isinstance(default, (int, float)):
        try:
            return type(default)(text)
        except ValueError:
            return text
    return text


def whole(low: int, high: int) -> Rule:
    """A whole number in a range."""

    def rule(value: object) -> int:
        if type(value) is int and low <= value <= high:
            return value
        raise ValueError(f"a whole number from {low} to {high}")

    return rule


def number(low: float, high: float) -> Rule:
    """A finite number in a range."""

    def rule(value: object) -> float:
        if isinstance(value, (int, float)) and type(value) is not bool and low <= value <= high:
            return float(value)
        raise ValueError(f"a number from {low:g} to {high:g}")

    return rule


def one_of(*words: str) -> Rule:
    """One of a few words."""

    def rule(value: object) -> str:
        if isinstance(value, str) and value in words:
            return value
        raise ValueError("one of " + ", ".join(words))

    return rule


def each(rule: Rule) -> Rule:
    """A list whose every item keeps a rule."""

    def whole_list(value: object) -> tuple[Any, ...]:
        if not isinstance(value, (list, tuple)) or len(value) > MAX_ITEMS:
            raise ValueError(f"a list of at most {MAX_ITEMS}")
        return tuple(dict.fromkeys(rule(item) for item in value))

    return whole_list


def boolean(value: object) -> bool:
    """True or false."""
    if isinstance(value, bool):
        return value
    raise ValueError("true or false")


def size(value: object) -> int:
    """Bytes, as a number or with a unit."""
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    amount = int(match[1]) * _UNITS[match[2]] if match else value
    if type(amount) is int and 0 <= amount < 1 << 60:
        return amount
    raise ValueError("a size such as 8GiB or 500MB, or a number of bytes")


def listen_address(value: object) -> str:
    """Where to accept connections; port 0 is any free one."""
    match = _LISTEN.fullmatch(value) if isinstance(value, str) else None
    if match and int(match[3]) <= 65535 and is_ip(match[2], 4 if match[1] == "ip4" else 6):
        return match[0]
    raise ValueError("an address such as /ip4/0.0.0.0/tcp/4801")


def bootstrap_address(value: object) -> str:
    """A node to meet first."""
    try:
        contact = parse_contact(value if isinstance(value, str) else "")
    except UsageError as error:
        raise ValueError("an address as `swarmd status` shows it: /ip4/192.0.2.7/tcp/4801/p2p/12D3Koo...") from error
    return f"{contact.addresses[0]}/p2p/{contact.peer}"


def peer(value: object) -> PeerId:
    """Another node."""
    try:
        public_key_of(PeerId(value if isinstance(value, str) else ""))
    except ProtocolViolation as error:
        raise ValueError("a peer id as `swarmd id` shows it: 12D3Koo...") from error
    return PeerId(str(value))


def machine_name(value: object) -> str:
    """What people call this machine; others see it."""
    if isinstance(value, str) and value.isprintable() and 0 < len(value.encode()) <= MAX_NAME_BYTES:
        return value
    raise ValueError(f"1 to {MAX_NAME_BYTES} bytes of printable text")


def device(value: object) -> str:
    """Where to compute."""
    if isinstance(value, str) and re.fullmatch(r"auto|cpu|mps|cuda(:[0-9]{1,2})?", value, re.ASCII):
        return "cuda:0" if value == "cuda" else value
    raise ValueError("auto, cpu, mps, cuda or cuda:0 (any number)")


def currency(value: object) -> str:
    """A currency's code."""
    if isinstance(value, str) and re.fullmatch("[A-Za-z]{3}", value, re.ASCII):
        return value.upper()
    raise ValueError("three letters such as USD or EUR")


def host(value: object) -> str:
    """An interface's address; empty: left to the rest of the settings."""
    if isinstance(value, str) and (not value or is_ip(value, 4) or is_ip(value, 6)):
        return value
    raise ValueError("an IP address of this machine, 0.0.0.0 for all, or empty: as far open as listen")


def endpoint(value: object) -> str:
    """``off`` or a host and a port."""
    if value == "off" or (isinstance(value, str) and split_endpoint(value)):
        return str(value)
    raise ValueError("off, or an address and a port such as 127.0.0.1:4803")


def split_endpoint(text: str) -> tuple[str, int] | None:
    """``127.0.0.1:4803`` or ``[::1]:4803`` as host and port; None for anything else."""
    host_text, _, port = text.rpartition(":")
    bare = host_text[1:-1] if host_text.startswith("[") and host_text.endswith("]") else host_text
    family = 4 if bare is host_text else 6
    if re.fullmatch("[0-9]{1,5}", port, re.ASCII) and int(port) <= 65535 and is_ip(bare, family):
        return bare, int(port)
    return None


def is_ip(text: str, version: int) -> bool:
    """Whether a text is an IP address of this version."""
    try:
        return ipaddress.ip_address(text).version == version and "%" not in text
    except ValueError:
        return False


RULES: Mapping[str, Rule] = {
    "listen": each(listen_address),
    "tensor_host": host,
    "tensor_port": whole(0, 65535),
    "bootstrap": each(bootstrap_address),
    "mdns": boolean,
    "name": machine_name,
    "device": device,
    "threads": whole(1, 4096),
    "memory_limit": size,
    "price": whole(0, 10**15),
    "accept": one_of("self", "list", "network"),
    "allow": each(peer),
    "max_stages": whole(0, 1024),
    "max_stages_per_submitter": whole(0, 1024),
    "disk_quota": size,
    "metrics": endpoint,
    "metrics_public": boolean,
    "log_level": one_of("debug", "info", "warning", "error"),
    "upload_mbit": number(0, 10**6),
    "download_mbit": number(0, 10**6),
    "target_stake": whole(0, MAX_AMOUNT),
    "kwh_price": number(0, 10**6),
    "currency": currency,
    "power_watts": number(0, 10**6),
    "credit_value": number(0, 10**9),
}
