"""How a node treats neighbours that pass on gossip no honest node would: first deaf to them, then rid of them."""

from __future__ import annotations

from collections import OrderedDict
from enum import Enum

from swarmd.protocols.ids import PeerId
from swarmd.protocols.pacing import RateLimit, Waits

FREE_REJECTIONS = 8
"""Rejected messages in a row that cost nothing: two versions may disagree once in a while."""
_FORGIVEN_PER_SECOND = 0.1
_DEAF = Waits(first=10.0, longest=300.0)
_MUTES_BEFORE_BAN = 3
_FORGOTTEN_AFTER = 3600.0
_MOST_PEERS = 1024


class Sanction(Enum):
    """What a rejected message brings upon the neighbour that passed it on."""

    NONE = "none"
    MUTE = "mute"
    """Its messages are dropped unread, for longer each time."""
    BAN = "ban"
    """It is disconnected as well, and not let in for a while."""


class Standing:
    """Rejected messages by neighbour; a bounded number of neighbours, times in seconds."""

    def __init__(self) -> None:
        self._rejections: RateLimit[PeerId] = RateLimit(_FORGIVEN_PER_SECOND, FREE_REJECTIONS)
        self._mutes: OrderedDict[PeerId, tuple[int, float]] = OrderedDict()  # how many so far, until when

    def rejected(self, peer: PeerId, now: float) -> Sanction:
        """Note that a message of the peer was rejected."""
        if self.muted(peer, now) or self._rejections.allow(peer, now):
            return Sanction.NONE
        before, until = self._mutes.pop(peer, (0, now))
        mutes = 1 if until + _FORGOTTEN_AFTER < now else before + 1
        self._mutes[peer] = mutes, now + _DEAF.after(mutes)
        if len(self._mutes) > _MOST_PEERS:
            self._mutes.popitem(last=False)
        return Sanction.BAN if mutes >= _MUTES_BEFORE_BAN else Sanction.MUTE

    def muted(self, peer: PeerId, now: float) -> bool:
        """Whether the peer's messages are dropped unread now."""
        return peer in self._mutes and now < self._mutes[peer][1]
