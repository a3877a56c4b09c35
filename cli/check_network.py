"""Checks of the network: ports, first contacts, the local network."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from swarmd.cli.finding import Finding, fail, ok, warn

if TYPE_CHECKING:
    from swarmd.config import Config

DIAL_SECONDS = 3.0
MDNS_GROUP, MDNS_PORT = "224.0.0.251", 5353
_ADDRESS = re.compile(r"/(?:ip4|ip6|dns|dns4|dns6)/([^/]+)/tcp/(\d+)(?:/.*)?")


def ports(config: Config, *, running: bool) -> Iterator[Finding]:
    """Whether the configured ports can be opened; there is no telling while the daemon holds them."""
    wanted = [place for text in config.listen if (place := host_port(text))]
    places = [*wanted, (config.tensor_host, config.tensor_port)]
    if running:
        yield ok("ports", "held by the daemon")
        return
    for host, port in places:
        yield port_finding(host, port)


def port_finding(host: str, port: int) -> Finding:
    """Whether one port can be opened."""
    if port == 0:
        return ok("port", f"any free one on {host}")
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as trial:
            trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            trial.bind((host, port))
    except OSError as error:
        text = f"{host} port {port}: {error.strerror or error}"
        return fail("port", text, "end the program that holds it, or choose another with --listen or --tensor-port")
    return ok("port", f"{host} port {port} is free")


def bootstrap(addresses: Iterable[str], *, mdns: bool) -> Iterator[Finding]:
    """Whether each configured first contact accepts a connection."""
    named = list(addresses)
    if not named and mdns:
        yield ok("bootstrap", "none set; peers on the local network are found without")
    elif not named:
        yield warn(
            "bootstrap", "none set, and mdns is off: others must name this node", "swarmd up --bootstrap ADDRESS"
        )
    for address in named:
        yield contact_finding(address)


def contact_finding(address: str) -> Finding:
    """Whether one first contact accepts a connection."""
    place = host_port(address)
    if place is None:
        return warn("bootstrap", f"{address} is not a TCP address", "take it from swarmd id --addresses over there")
    try:
        socket.create_connection(place, timeout=DIAL_SECONDS).close()
    except OSError as error:
        text = f"{place[0]} port {place[1]}: {error.strerror or error}"
        return warn("bootstrap", text, "is that node up, and its port open in its firewall or router?")
    return ok("bootstrap", f"{place[0]} port {place[1]} answers")


def mdns(wanted: bool) -> Finding:
    """Whether this machine may join the group on which nodes find each other on a local network."""
    if not wanted:
        return ok("mdns", "off")
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial:
            for option in (socket.SO_REUSEADDR, getattr(socket, "SO_REUSEPORT", socket.SO_REUSEADDR)):
                trial.setsockopt(socket.SOL_SOCKET, option, 1)
            trial.bind(("", MDNS_PORT))
            group = socket.inet_aton(MDNS_GROUP) + socket.inet_aton("0.0.0.0")
            trial.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    except OSError as error:
        return warn("mdns", f"not possible here: {error.strerror or error}", "name a node with --bootstrap instead")
    return ok("mdns", "this machine can look for peers on the local network")


def host_port(address: str) -> tuple[str, int] | None:
    """Host and port of a TCP multiaddress, or None."""
    match = _ADDRESS.fullmatch(address)
    return (match[1], int(match[2])) if match and int(match[2]) < 65536 else None
