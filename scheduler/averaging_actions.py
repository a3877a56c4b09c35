"""What the machines of an averaging round ask of whoever drives them, and how long they wait."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from swarmd.protocols.averaging import Commit, Message


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """Seconds."""

    ready: float = 10.0
    """The leader waits this long for every member to be there."""
    gather: float = 60.0
    """An owner waits this long for the members' parts of its slice."""
    deliver: float = 120.0
    """The leader waits this long, from a slice's beginning, until every member holds its result."""
    confirm: float = 10.0
    """Members wait this long to hear that the others saw the same commit."""
    whole: float = 600.0
    """No round takes longer."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Send a message to the member at this place."""

    to: int
    message: Message


@dataclass(frozen=True, slots=True)
class SendPart:
    """Send our values of a slice to its owner."""

    slice: int
    attempt: int
    to: int


@dataclass(frozen=True, slots=True)
class Expect:
    """Have room for a slice's result, or, when we are its owner, for the members' parts."""

    slice: int
    attempt: int
    owner: int


@dataclass(frozen=True, slots=True)
class Sum:
    """Average a slice over these members' parts; then call ``summed``."""

    slice: int
    attempt: int
    contributors: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class SendResult:
    """Send a result that we summed; its ``Result`` was told just before."""

    slice: int
    attempt: int
    to: int


@dataclass(frozen=True, slots=True)
class Adopt:
    """The round is done: take these results."""

    commit: Commit


@dataclass(frozen=True, slots=True)
class Fail:
    """The round has failed for us: keep our own values."""

    reason: str


Action: TypeAlias = Tell | SendPart | Expect | Sum | SendResult | Adopt | Fail
