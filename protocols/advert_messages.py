"""What nodes say to each other to spread adverts. Adverts travel as the signed bytes of their issuers."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.protocols.advert import MAX_ADVERT_BYTES

ADVERT_PROTOCOL = "/swarmd/advert/1"
MAX_BATCH = 48
"""Adverts in one reply: with each at its largest, the reply stays under 256 KiB."""


@dataclass(frozen=True, slots=True)
class GetAdvert:
    """Asks for the receiver's advert, and hands over the sender's own; empty if it has none yet."""

    own: bytes

    def __post_init__(self) -> None:
        """Raises ValueError for more bytes than any advert has."""
        _check_size(self.own)


@dataclass(frozen=True, slots=True)
class OwnAdvertIs:
    """The answer to GetAdvert; empty if the receiver has none yet."""

    advert: bytes

    def __post_init__(self) -> None:
        """Raises ValueError for more bytes than any advert has."""
        _check_size(self.advert)


@dataclass(frozen=True, slots=True)
class KnownAdverts:
    """Asks for adverts of other peers, in order of peer id, from the first after ``after``."""

    after: str
    """A peer id, or empty to start from the first."""
    limit: int

    def __post_init__(self) -> None:
        """Raises ValueError for a limit that no reply could hold."""
        if not 1 <= self.limit <= MAX_BATCH or len(self.after) > 60:
            raise ValueError(f"asks for {self.limit} adverts; a reply holds 1 to {MAX_BATCH}")


@dataclass(frozen=True, slots=True)
class Adverts:
    """The answer to KnownAdverts. ``last`` is the peer id of the last one; empty when there are no more."""

    adverts: tuple[bytes, ...]
    last: str

    def __post_init__(self) -> None:
        """Raises ValueError for more than a reply may hold."""
        if len(self.adverts) > MAX_BATCH or len(self.last) > 60:
            raise ValueError(f"more than {MAX_BATCH} adverts")
        for advert in self.adverts:
            _check_size(advert)


def _check_size(raw: bytes) -> None:
    if len(raw) > MAX_ADVERT_BYTES:
        raise ValueError(f"an advert of {len(raw)} bytes is over the limit of {MAX_ADVERT_BYTES}")
