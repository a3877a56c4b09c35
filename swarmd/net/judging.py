"""What a node does with gossip, whichever network carries it: judge each message once, pass on what is accepted.

The verdicts are those of GossipSub 1.1 (Vyzovitis et al., 2020, arXiv:2007.02754).
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import trio

from swarmd.net.counters import Counters
from swarmd.net.inbox import Inbox, Letter
from swarmd.net.seen import Seen, Sighting, digest_of
from swarmd.net.standing import Sanction, Standing
from swarmd.net.transport import MAX_GOSSIP_BYTES, Judge, Verdict
from swarmd.protocols.ids import PeerId, short

_LOG = logging.getLogger(__name__)

MOST_TOPICS = 64
MAX_TOPIC_BYTES = 128
_AT_ONCE = 16
"""Judges at work."""
_JUDGE_SECONDS = 10.0

PassOn = Callable[[str, bytes, frozenset[PeerId]], None]
"""(topic, message, neighbours that have it): send it to the other neighbours on the topic, without waiting."""


class Judging:
    """Judges by topic. ``ban`` is called with a neighbour to be thrown out."""

    def __init__(self, counters: Counters, pass_on: PassOn, ban: Callable[[PeerId], None]) -> None:
        self._counters, self._pass_on, self._ban = counters, pass_on, ban
        self._judges: dict[str, Judge] = {}
        self._seen, self._standing, self._inbox = Seen(), Standing(), Inbox()

    @property
    def topics(self) -> tuple[str, ...]:
        """Topics we take part in, in order."""
        return tuple(sorted(self._judges))

    def subscribe(self, topic: str, judge: Judge) -> None:
        """Judge a topic's messages from now on. Raises ValueError for too many topics, or too long a name."""
        if not 0 < len(topic.encode()) <= MAX_TOPIC_BYTES:
            raise ValueError(f"a topic's name has 1 to {MAX_TOPIC_BYTES} bytes")
        if len(self._judges) >= MOST_TOPICS and topic not in self._judges:
            raise ValueError(f"a node takes part in at most {MOST_TOPICS} topics")
        self._judges[topic] = judge

    def publish(self, topic: str, message: bytes) -> None:
        """Send a message of our own. Raises ValueError over MAX_GOSSIP_BYTES."""
        if len(message) > MAX_GOSSIP_BYTES:
            raise ValueError(f"a gossiped message of {len(message)} bytes; at most {MAX_GOSSIP_BYTES} are sent")
        self._counters.add("gossip_published")
        self._seen.note(digest_of(topic, message), trio.current_time()).settle(Verdict.ACCEPT)
        self._pass_on(topic, message, frozenset())

    def hears(self, sender: PeerId, topic: str) -> bool:
        """Whether a message is worth reading; if not, that is counted."""
        if topic not in self._judges:
            self._counters.add("gossip_unsubscribed")
        elif self._muted(sender):
            self._counters.add("gossip_throttled")
        else:
            return True
        return False

    async def room(self, sender: PeerId) -> None:
        """Wait until a message of the neighbour would not be dropped for lack of room."""
        await self._inbox.room(sender)

    def arrived(self, sender: PeerId, topic: str, message: bytes) -> None:
        """A neighbour has passed on a message."""
        if not self.hears(sender, topic):
            return
        self._counters.add("gossip_received")
        if len(message) > MAX_GOSSIP_BYTES:
            self._counters.add("gossip_oversize")
            self.punish(sender)
            return
        digest, now = digest_of(topic, message), trio.current_time()
        known = self._seen.find(digest, now)
        if known is not None:
            self._again(sender, known)
        elif self._inbox.full(sender):
            self._counters.add("gossip_dropped")
        else:
            sighting = self._seen.note(digest, now)
            sighting.add(sender)
            self._inbox.put(Letter(sender, topic, message, digest, sighting))

    async def run(self) -> None:
        """Judge what arrives, for ever."""
        limiter = trio.Semaphore(_AT_ONCE)
        async with trio.open_nursery() as nursery:
            while True:
                await limiter.acquire()
                nursery.start_soon(self._deal_with, await self._inbox.take(), limiter)

    def punish(self, sender: PeerId) -> None:
        """The neighbour did what no honest one does."""
        self._counters.add("gossip_rejected")
        sanction = self._standing.rejected(sender, trio.current_time())
        if sanction is not Sanction.NONE:
            self._counters.add("gossip_muted")
            _LOG.info("%s passes on gossip that is rejected: %s", short(sender), sanction.value)
        if sanction is Sanction.BAN:
            self._ban(sender)

    def _muted(self, sender: PeerId) -> bool:
        return self._standing.muted(sender, trio.current_time())

    def _again(self, sender: PeerId, known: Sighting) -> None:
        self._counters.add("gossip_duplicates")
        if known.verdict is None:
            known.add(sender)
        elif known.verdict is Verdict.REJECT:
            self.punish(sender)

    async def _deal_with(self, letter: Letter, limiter: trio.Semaphore) -> None:
        try:
            if any(not self._muted(holder) for holder in letter.sighting.holders):
                self._act(letter, await self._verdict(letter))
            else:
                self._counters.add("gossip_throttled")
                self._seen.forget(letter.digest)
        finally:
            self._inbox.done(letter)
            limiter.release()

    async def _verdict(self, letter: Letter) -> Verdict:
        try:
            with trio.fail_after(_JUDGE_SECONDS):
                return await self._judges[letter.topic](letter.sender, letter.message)
        except Exception:  # noqa: BLE001 - the edge of what serves one message
            self._counters.add("gossip_judge_errors")
            _LOG.exception("in judging a message on %s", letter.topic)
            return Verdict.IGNORE

    def _act(self, letter: Letter, verdict: Verdict) -> None:
        holders = letter.sighting.settle(verdict)
        if verdict is Verdict.ACCEPT:
            self._counters.add("gossip_accepted")
            self._pass_on(letter.topic, letter.message, holders)
        elif verdict is Verdict.IGNORE:
            self._counters.add("gossip_ignored")
        else:
            for holder in sorted(holders):
                self.punish(holder)
