"""The file that describes peers: TOML text, one ``[[peer]]`` table for each, read into plain values.

    efficiency = 0.4                    # share of its tflops that a peer reaches; this is the default

    [[peer]]
    name = "attic"
    count = 1                           # so many alike: attic-1, attic-2, ...
    tflops = 30                         # or seconds_per_layer, per micro-batch there and back, as measured
    memory = "8GiB"
    up_mbit = 40                        # left out: without limit, as down_mbit
    down_mbit = 200
    rtt_ms = 30                         # to the others: between two peers the mean of both; left out: 0
                                        # or, for every peer, region = "eu", with
    [regions]                           # round trips in ms; both ways alike
    eu = { eu = 15, us = 95 }
    us = { us = 30 }

A mistake reads ``FILE: peer 2 (attic): up_mbit = -4: must be a number above 0``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swarmd.protocols.errors import NotFound, UsageError
from swarmd.scheduler.simulated import MAX_NODES
from swarmd.settings import size
from swarmd.simulate.fields import HINT, MAX_TEXT, Fields
from swarmd.tomlfile import TomlFile, nearest, read_toml

EFFICIENCY = 0.4
"""Of a device's operations a second that training reaches, where nothing was measured."""
MAX_REGIONS = 64

_FIELDS = (
    "name", "count", "tflops", "seconds_per_layer", "seconds_embed", "seconds_head", "memory", "up_mbit", "down_mbit",
    "rtt_ms", "region",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class DescribedPeer:
    """One peer, as its owner would describe it."""

    name: str
    memory_bytes: int
    operations_per_s: float | None = None
    """What it says it does, in all; None: seconds_per_layer is given."""
    seconds_per_layer: float | None = None
    """Of one micro-batch, both passes."""
    seconds_embed: float = 0.0
    seconds_head: float | None = None
    """None: by the head's share of operations."""
    uplink: float = 0.0
    """Bytes a second; 0: without limit."""
    downlink: float = 0.0
    round_trip: float = 0.0
    """Seconds to the others."""
    region: str = ""


@dataclass(frozen=True, slots=True)
class DescribedPeers:
    """All peers of a file."""

    peers: tuple[DescribedPeer, ...]
    efficiency: float
    regions: Mapping[tuple[str, str], float]
    """Round trips in seconds, each pair both ways; empty: peers have their own."""

    def round_trip(self, a: DescribedPeer, b: DescribedPeer) -> float:
        """Seconds there and back between two peers."""
        return self.regions[a.region, b.region] if self.regions else (a.round_trip + b.round_trip) / 2


def read_peers(path: Path) -> DescribedPeers:
    """Read a file of peers. Raises NotFound, or UsageError that names the field and what would be right."""
    file = read_toml(path)
    if file is None:
        raise NotFound(f"there is no file {path}", hint=HINT)
    file.only(("efficiency", "peer", "regions"))
    efficiency = Fields(str(path), file.values).number("efficiency", positive=True, most=1.0, otherwise=EFFICIENCY)
    regions = _regions(file)
    found = [each for number, table in enumerate(_tables(file), 1) for each in _peers(path, number, table, regions)]
    if len(found) > MAX_NODES:
        raise UsageError(f"{path}: {len(found)} peers; at most {MAX_NODES} can be simulated", hint=HINT)
    _check_names(path, found)
    return DescribedPeers(tuple(found), efficiency, regions)


def _tables(file: TomlFile) -> list[Any]:
    tables = file.values.get("peer")
    if not isinstance(tables, list) or not tables:
        raise UsageError(f"{file.path}: there is no peer; each is a [[peer]] table", hint=HINT)
    return tables


def _peers(path: Path, number: int, value: object, regions: Mapping[tuple[str, str], float]) -> list[DescribedPeer]:
    if not isinstance(value, dict):
        raise UsageError(f"{path}: peer {number}: must be a table; write [[peer]] and its fields below", hint=HINT)
    named = value.get("name")
    table = Fields(f"{path}: peer {number}" + (f" ({named[:MAX_TEXT]})" if isinstance(named, str) else ""), value)
    table.only(_FIELDS)
    name, count = table.text("name"), table.whole("count", MAX_NODES)
    peer = DescribedPeer(
        name=name,
        memory_bytes=table.read("memory", size),
        operations_per_s=table.number("tflops", positive=True, scale=1e12) if "tflops" in value else None,
        seconds_per_layer=table.number("seconds_per_layer", positive=True) if "seconds_per_layer" in value else None,
        seconds_embed=table.number("seconds_embed", otherwise=0.0),
        seconds_head=table.number("seconds_head") if "seconds_head" in value else None,
        uplink=table.number("up_mbit", positive=True, scale=1e6 / 8, otherwise=0.0),
        downlink=table.number("down_mbit", positive=True, scale=1e6 / 8, otherwise=0.0),
        round_trip=table.number("rtt_ms", scale=1e-3, otherwise=0.0),
        region=_region(table, regions),
    )
    if (peer.operations_per_s is None) == (peer.seconds_per_layer is None):
        raise table.wrong("tflops", "give it or seconds_per_layer, one of both")
    return [peer] if "count" not in value else [replace(peer, name=f"{name}-{n}") for n in range(1, count + 1)]


def _region(table: Fields, regions: Mapping[tuple[str, str], float]) -> str:
    if not regions:
        if "region" in table.values:
            raise table.wrong("region", "there is no [regions] table with its round trips")
        return ""
    if "rtt_ms" in table.values:
        raise table.wrong("rtt_ms", "the round trips are those of [regions]; give region instead")
    region = table.text("region")
    if not any(region in pair for pair in regions):
        raise table.wrong("region", f"not in [regions]; {nearest(region, {a for a, _ in regions})}")
    return region


def _regions(file: TomlFile) -> dict[tuple[str, str], float]:
    """Every pair both ways; each region of the table must have its round trip to every other and to itself."""
    rows = file.values.get("regions", {})
    if not isinstance(rows, dict) or not all(isinstance(row, dict) for row in rows.values()) or len(rows) > MAX_REGIONS:
        raise UsageError(
            f"{file.path}: regions: must be one table of up to {MAX_REGIONS} lines such as eu = {{ eu = 15, us = 95 }}",
            hint=HINT,
        )
    found: dict[tuple[str, str], float] = {}
    for region, row in rows.items():
        table = Fields(f"{file.path}: regions.{region}", row)
        for other in row:
            found[region, other] = found[other, region] = table.number(other, scale=1e-3)
    names = {name for pair in found for name in pair}
    for a, b in ((a, b) for a in sorted(names) for b in sorted(names) if (a, b) not in found):
        raise UsageError(f"{file.path}: regions.{a}: has no round trip to {b}; write {b} = MILLISECONDS", hint=HINT)
    return found


def _check_names(path: Path, peers: Iterable[DescribedPeer]) -> None:
    seen: set[str] = set()
    for peer in peers:
        if peer.name in seen:
            raise UsageError(f"{path}: two peers are called {peer.name}; give each a name of its own", hint=HINT)
        seen.add(peer.name)
