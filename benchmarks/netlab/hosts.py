"""What a host's link is like."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

MOST_HOSTS = 250


class LabError(Exception):
    """The lab cannot be made as asked; the message says what to change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One home: rates in Mbit/s, times in ms."""

    up: float = 100.0
    down: float = 100.0
    delay: float = 10.0
    """This host's share of the one-way delay."""
    loss: float = 0.0
    """Probability that a packet is lost on the way up, and again on the way down."""
    buffer: float = 100.0
    """The queue in front of each direction, as time at its rate; what does not fit is dropped."""
    nat: bool = False

    def __post_init__(self) -> None:
        """Raises LabError for a link that cannot be."""
        if min(self.up, self.down) <= 0 or min(self.delay, self.buffer) < 0 or not 0 <= self.loss <= 1:
            raise LabError(f"no link is like {self}: rates are over zero, times not under it, and loss is from 0 to 1")


NUMBERS = tuple(each.name for each in fields(Host) if each.name != "nat")


def same_hosts(count: int, host: Host) -> tuple[Host, ...]:
    """``count`` homes alike. Raises LabError for fewer than 2 or more than 250."""
    return _checked((host,) * count)


def read_hosts(path: Path) -> tuple[Host, ...]:
    """The homes of a spec file. Raises LabError."""
    try:
        tables = tomllib.loads(path.read_text()).get("host", [])
        return _checked(tuple(Host(**table) for table in tables))
    except (OSError, TypeError, tomllib.TOMLDecodeError) as error:
        raise LabError(f"{path}: {error}; it holds a [[host]] table for each host") from error


def changed(host: Host, settings: list[str]) -> Host:
    """The host with ``name=number`` settings applied. Raises LabError or ValueError."""
    pairs = dict(each.split("=", 1) for each in settings)
    if not pairs.keys() <= set(NUMBERS):
        raise LabError(f"a host has {', '.join(NUMBERS)}; not {', '.join(pairs.keys() - set(NUMBERS))}")
    numbers: dict[str, Any] = {name: float(value) for name, value in pairs.items()}
    return replace(host, **numbers)


def _checked(hosts: tuple[Host, ...]) -> tuple[Host, ...]:
    if not 2 <= len(hosts) <= MOST_HOSTS:
        raise LabError(f"a lab has from 2 to {MOST_HOSTS} hosts, not {len(hosts)}")
    return hosts
