"""The waits and bounds of an open link."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkLimits:
    """Seconds, and messages."""

    ping_every: float = 5.0
    """A sender with nothing to send says so this often."""
    silence: float = 15.0
    """A receiver takes its peer for lost after this long without a byte."""
    stall: float = 60.0
    """A sender takes its peer for lost after this long without room. Long: a receiver may hold back
    while its GPU is busy, and the kernel cannot tell that from a peer that has gone."""
    farewell: float = 5.0
    """A closing sender waits this long for the peer to take the last bytes."""
    queued_frames: int = 64
    queued_acks: int = 1024
