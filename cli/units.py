"""Numbers as people read them: three digits that matter, a unit, one width."""

from __future__ import annotations

import math
import time

from swarmd.protocols.control import StageView
from swarmd.protocols.ledger.amounts import format_credits

DASH = "\u2013"
"""Stands for a figure that is not known; also between two ends of a range."""

_DECIMAL = ("", "k", "M", "G", "T", "P")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def short_id(identifier: str) -> str:
    """Eight characters that tell peers and runs apart: a hash's first, a peer id's last."""
    return identifier[:8] if len(identifier) == 64 else identifier[-8:]


def network(name: str) -> str:
    """A network by its name, or by the beginning of its hash."""
    return short_id(name) if len(name) == 64 else name


def scaled(value: float) -> str:
    """A number with a decimal prefix: 1.23 G."""
    power = 0
    while abs(value) >= 999.5 and power < len(_DECIMAL) - 1:
        value /= 1000
        power += 1
    return f"{_three(value)} {_DECIMAL[power]}".rstrip()


def flops(value: float) -> str:
    """Operations a second."""
    number, _, prefix = scaled(value).partition(" ")
    return f"{number} {prefix}FLOP/s"


def size(count: float) -> str:
    """Bytes with a binary prefix."""
    power = 0
    while abs(count) >= 1000 and power < len(_BINARY) - 1:
        count /= 1024
        power += 1
    return f"{count:.0f} B" if power == 0 else f"{_three(count)} {_BINARY[power]}"


def counted(count: int, thing: str) -> str:
    """How many there are of something: 1 thread, 2 threads."""
    return f"{count} {thing}" if count == 1 else f"{count} {thing}s"


def duration(seconds: float | None) -> str:
    """A length of time in its two largest units; a dash when it is not known."""
    if seconds is None:
        return DASH
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600:02d}h"


def speed(tokens_per_s: float) -> str:
    """Tokens a second, without the unit."""
    return f"{tokens_per_s:,.1f}" if 0 < tokens_per_s < 10 else f"{tokens_per_s:,.0f}"


def milliseconds(value: float) -> str:
    """A time of a step's part, without the unit."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def mbit(value: float) -> str:
    """Mbit/s, without the unit."""
    return f"{value:.1f}" if value < 100 else f"{value:,.0f}"


def loss(value: float | None) -> str:
    """A loss in nats; a dash before the first."""
    return DASH if value is None else f"{value:.4f}"


def percent(share: float) -> str:
    """A share of one."""
    return f"{share * 100:.0f} %"


def layers(stage: StageView) -> str:
    """A stage's first and last layer."""
    return f"{stage.first_layer}{DASH}{stage.last_layer}"


def clock(unix: float) -> str:
    """The local time of day."""
    return time.strftime("%H:%M:%S", time.localtime(unix))


def moment(unix: float) -> str:
    """Local date and time to the minute."""
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(unix))


def moment_in(unix: float, now: float) -> str:
    """A moment of the same year as ``now`` without the year, to the minute; the date of any other."""
    then = time.localtime(unix)
    same = then.tm_year == time.localtime(now).tm_year
    return time.strftime("%m-%d %H:%M" if same else "%Y-%m-%d", then)


def credits(micro: int) -> str:
    """An amount with its unit; no digits are lost."""
    text = format_credits(micro)
    return f"{text} credit" if text == "1" else f"{text} credits"


def money(value: float, currency: str) -> str:
    """An amount of money: two decimals, or three digits that matter where those would lose them."""
    places = 2 if abs(value) >= 0.0995 or value == 0 else 2 - math.floor(math.log10(abs(value)))
    return f"{value:,.{min(places, 12)}f} {currency}"


def _three(value: float) -> str:
    if abs(value) >= 99.95 or value == 0:
        return f"{value:.0f}"
    return f"{value:.1f}" if abs(value) >= 9.995 else f"{value:.2f}"
