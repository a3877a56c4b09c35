"""The addresses others can dial, where we listen on a wildcard."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import psutil  # type: ignore[import-untyped]


def listening(addresses: Iterable[str]) -> tuple[str, ...]:
    """Each wildcard address replaced by this machine's own, without duplicates."""
    spelled: list[str] = []
    for address in addresses:
        version, host, rest = _parts(address)
        if host in ("0.0.0.0", "::"):
            spelled += [f"/{version}/{own}/{rest}" for own in _own(version)]
        else:
            spelled.append(address)
    return tuple(dict.fromkeys(spelled))


def _parts(address: str) -> tuple[str, str, str]:
    _, version, host, rest = address.split("/", 3)
    return version, host, rest


def _own(version: str) -> list[str]:
    family = socket.AF_INET6 if version == "ip6" else socket.AF_INET
    found = [
        ipaddress.ip_address(each.address.partition("%")[0])
        for interface in psutil.net_if_addrs().values()
        for each in interface
        if each.family == family
    ]
    dialable = [each for each in found if not each.is_link_local]
    return [str(each) for each in sorted(dialable, key=lambda each: (each.is_loopback, str(each)))]
