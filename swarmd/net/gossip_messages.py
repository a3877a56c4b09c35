"""What neighbours say to each other on a gossip stream: one each way, for as long as they are connected."""

from __future__ import annotations

from dataclasses import dataclass

from swarmd.net.judging import MAX_TOPIC_BYTES, MOST_TOPICS
from swarmd.net.transport import MAX_GOSSIP_BYTES
from swarmd.protocols.framing import frame
from swarmd.protocols.registry import Registry

GOSSIP_PROTOCOL = "/swarmd/gossip/1"
LARGEST_FRAME = MAX_GOSSIP_BYTES + 1024


@dataclass(frozen=True, slots=True)
class TakesPart:
    """The topics the sender takes part in from now on; the first thing on every stream.

    ``relies`` says that the sender has few neighbours, and is to be sent every message.
    """

    topics: tuple[str, ...]
    relies: bool

    def __post_init__(self) -> None:
        """Raises ValueError for more than any honest node names."""
        if len(self.topics) > MOST_TOPICS or any(len(topic.encode()) > MAX_TOPIC_BYTES for topic in self.topics):
            raise ValueError("too many topics, or too long a name")


@dataclass(frozen=True, slots=True)
class Gossiped:
    """A message on a topic, from whoever began it; it proves itself, or the topic's judge refuses it."""

    topic: str
    message: bytes

    def __post_init__(self) -> None:
        """Raises ValueError for a message over the limit."""
        if len(self.message) > MAX_GOSSIP_BYTES:
            raise ValueError(f"a gossiped message of {len(self.message)} bytes")


WORDS = Registry(TakesPart, Gossiped)


def framed(word: TakesPart | Gossiped) -> bytes:
    """A word as it goes on the stream."""
    return frame(WORDS.encode(word), LARGEST_FRAME)
