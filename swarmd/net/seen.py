"""Which gossip has been seen, so that each message is judged once."""

from __future__ import annotations

import hashlib
from collections import OrderedDict

from swarmd.net.transport import Verdict
from swarmd.protocols.ids import PeerId

MOST_SEEN = 32_768
SEEN_SECONDS = 120.0
"""A message that comes again later is judged again."""
_NOBODY: frozenset[PeerId] = frozenset()


class Sighting:
    """One message: when it was first seen, which neighbours sent it before the verdict, and the verdict."""

    __slots__ = ("_holders", "verdict", "when")

    def __init__(self, when: float) -> None:
        self.when = when
        self.verdict: Verdict | None = None
        self._holders: frozenset[PeerId] = _NOBODY

    @property
    def holders(self) -> frozenset[PeerId]:
        """The neighbours, until the verdict."""
        return self._holders

    def add(self, holder: PeerId) -> None:
        """One more neighbour has sent it."""
        self._holders |= {holder}

    def settle(self, verdict: Verdict) -> frozenset[PeerId]:
        """Note the verdict, and forget the neighbours that are returned."""
        self.verdict = verdict
        holders, self._holders = self._holders, _NOBODY
        return holders


class Seen:
    """The latest messages by digest."""

    def __init__(self) -> None:
        self._sightings: OrderedDict[bytes, Sighting] = OrderedDict()

    def find(self, digest: bytes, now: float) -> Sighting | None:
        """What is known of a message seen in the last SEEN_SECONDS."""
        sighting = self._sightings.get(digest)
        return None if sighting is None or sighting.when + SEEN_SECONDS <= now else sighting

    def note(self, digest: bytes, now: float) -> Sighting:
        """A message seen for the first time."""
        sighting = self._sightings[digest] = Sighting(now)
        self._sightings.move_to_end(digest)
        if len(self._sightings) > MOST_SEEN:
            self._sightings.popitem(last=False)
        return sighting

    def forget(self, digest: bytes) -> None:
        """Have it judged when it comes again."""
        self._sightings.pop(digest, None)

    def __len__(self) -> int:
        return len(self._sightings)


def digest_of(topic: str, message: bytes) -> bytes:
    """What tells messages apart: 20 bytes over the topic and the message."""
    name = topic.encode()
    return hashlib.blake2b(len(name).to_bytes(4, "big") + name + message, digest_size=20).digest()
