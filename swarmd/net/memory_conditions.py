"""How good the links of the network in memory are, and the dice that decide what befalls each piece."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from random import Random

from swarmd.protocols.ids import PeerId

UNLIMITED = float("inf")


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """One link, or the network's usual link. Streams lose nothing and keep their order, as TCP does."""

    delay: float = 0.0
    """Seconds one way."""
    jitter: float = 0.0
    """Up to so many seconds more, drawn for each piece; gossip overtakes gossip by it."""
    loss: float = 0.0
    duplication: float = 0.0
    """Probabilities that a gossiped message is lost, or comes twice, on one link."""
    resets: float = 0.0
    """Times a second that a stream is reset, on average."""

    def __post_init__(self) -> None:
        """Raises ValueError for what no link can be."""
        if not (0 <= self.loss <= 1 and 0 <= self.duplication <= 1):
            raise ValueError("loss and duplication are probabilities")
        if min(self.delay, self.jitter, self.resets) < 0:
            raise ValueError("delay, jitter and resets are not negative")


@dataclass(frozen=True, slots=True)
class Bandwidth:
    """Bytes a second that one node sends and receives, over all its links together."""

    up: float = UNLIMITED
    down: float = UNLIMITED

    def __post_init__(self) -> None:
        """Raises ValueError for a node that could never send or receive."""
        if min(self.up, self.down) <= 0:
            raise ValueError("a bandwidth is more than nothing")


def dice(seed: int, sender: PeerId, receiver: PeerId, use: str) -> Random:
    """Chance for one use of one direction of one link: what else is carried does not change what happens to it."""
    name = f"{seed}/{sender}/{receiver}/{use}".encode()
    return Random(int.from_bytes(hashlib.sha256(name).digest(), "big"))


def transit(conditions: Conditions, chance: Random) -> float:
    """Seconds that one piece takes."""
    return conditions.delay + (chance.uniform(0.0, conditions.jitter) if conditions.jitter else 0.0)
