"""How much a background transfer may have under way, so that nobody else notices it.

A window on the bytes not yet acknowledged, steered by the queueing delay the transfer sees, as LEDBAT does
(RFC 6817): it grows while the delay is under a target and shrinks above it. What others send makes the delay
grow too, so the transfer gives way to them down to a smallest window. Doubles at first; later the
change per round trip is bounded so that it settles on short and on long links.
"""

from __future__ import annotations

from dataclasses import dataclass

TARGET_SECONDS = 0.015
"""Of delay over the shortest round trip."""
SMALLEST, FIRST, LARGEST = 32 * 1024, 256 * 1024, 16 * 1024 * 1024
"""Bytes."""
_GAIN = 0.5
_LONGEST_LOOK = 0.005


@dataclass(frozen=True, slots=True)
class Path:
    """What a connection knows of its path: seconds and bytes."""

    round_trip: float
    shortest_round_trip: float
    acknowledged: int
    """In all, so far."""
    under_way: int
    """Given to the kernel and not acknowledged."""


class BackgroundWindow:
    """Of one transfer."""

    def __init__(self) -> None:
        self.size: float = FIRST
        self._acknowledged = 0
        self._doubles = True
        self._was_full = False

    def pause(self, path: Path) -> float:
        """Seconds to wait before looking again whether more may be sent; 0 when it may now."""
        self._learn(path)
        if path.under_way < self.size:
            return 0.0
        self._was_full = True
        return min(_LONGEST_LOOK, max(0.001, path.round_trip / 4))

    def _learn(self, path: Path) -> None:
        news, self._acknowledged = path.acknowledged - self._acknowledged, path.acknowledged
        delay = path.round_trip - path.shortest_round_trip
        room = max(-1.0, 1.0 - delay / TARGET_SECONDS)
        self._doubles = self._doubles and room > 0.0
        gain = 1.0 if self._doubles else _GAIN * min(1.0, TARGET_SECONDS / path.round_trip) * room
        if news and (self._was_full or gain < 0):
            self.size = min(LARGEST, max(SMALLEST, self.size + gain * min(news, self.size)))
            self._was_full = False
