"""Peers that break the rules all the time are thrown out for a while."""

from __future__ import annotations

from collections import OrderedDict

from swarmd.protocols.pacing import RateLimit

OFFENCES = 100
"""Broken streams in a row that cost a peer nothing; it may break that many a minute for ever."""
BAN_SECONDS = 60.0
_MOST_BANNED = 1024


class Bans:
    """Offences by peer. Identities cost nothing, so this spares work; it keeps no determined attacker out."""

    def __init__(self) -> None:
        self._offences: RateLimit[str] = RateLimit(OFFENCES / 60.0, OFFENCES)
        self._until: OrderedDict[str, float] = OrderedDict()

    def offend(self, peer: str, now: float) -> bool:
        """Note an offence; whether it is the one that gets the peer banned."""
        return not self.banned(peer, now) and not self._offences.allow(peer, now) and self.ban(peer, now)

    def ban(self, peer: str, now: float) -> bool:
        """Throw a peer out from now on; whether it was not banned already."""
        if self.banned(peer, now):
            return False
        self._until[peer] = now + BAN_SECONDS
        if len(self._until) > _MOST_BANNED:
            self._until.popitem(last=False)
        return True

    def banned(self, peer: str, now: float) -> bool:
        """Whether nothing is taken from the peer now."""
        if self._until.get(peer, 0.0) <= now:
            self._until.pop(peer, None)
            return False
        return True
