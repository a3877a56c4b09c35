"""The coordinator's side of a session: offer the run, hear the member out, keep its lease alive."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import trio

from swarmd.net.transport import Stream
from swarmd.protocols.errors import PeerLost, RemoteError, SwarmdError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.messages import (
    FROM_COORDINATOR,
    FROM_MEMBER,
    SESSION_PROTOCOL,
    Heartbeat,
    Offer,
    Release,
    words,
)
from swarmd.runs.conduct import Conduct
from swarmd.runs.deps import RunDeps
from swarmd.runs.offers import take_part
from swarmd.runs.record import RunRecord
from swarmd.runs.session import Session, stream_pair

HEARTBEAT_SECONDS = 0.5
FAREWELL_SECONDS = 2.0
DIAL_SECONDS = 10.0


class Call:
    """One session with one member, from our side.

    ``hear`` gets every message of the member that ``conduct`` lets pass, in order; ``lose`` is told why the
    session ended, unless it was we who ended it.
    """

    def __init__(
        self,
        peer: PeerId,
        record: RunRecord,
        hear: Callable[[PeerId, object], None],
        lose: Callable[[PeerId, str], None],
    ) -> None:
        self.peer = peer
        self.conduct = Conduct(record.spec)
        self._record, self._hear, self._lose = record, hear, lose
        self._beats = 0
        self._session: Session | None = None
        self._released = False
        self.over = trio.Event()
        """Set when the session has ended, or never began."""

    async def run(self, offer: Offer, deps: RunDeps) -> None:
        """Hold the session until either side ends it."""
        try:
            async with trio.open_nursery() as nursery:
                stream = await self._open(deps, nursery)
                if self._released:  # while it was opened: an offer now would be a lease that nobody ends
                    await stream.reset()
                    nursery.cancel_scope.cancel()
                    return
                self._session = Session(stream, FROM_COORDINATOR, FROM_MEMBER)
                await self._session.send(offer)
                nursery.start_soon(self._beat, self._session)
                await self._listen(self._session)
        except* RemoteError as group:
            if not self._released:
                self._lose(self.peer, _reasons(group))
                if self._session is not None:
                    await self._session.stream.reset()
        finally:
            self.over.set()

    async def tell(self, message: object) -> None:
        """Send a message; a member that is gone is reported lost, not raised."""
        if self._session is None or self._released:
            return
        try:
            await self._session.send(message)
        except RemoteError as error:
            self._lose(self.peer, error.message)

    async def release(self, reason: str) -> None:
        """End the lease, politely if the member still listens."""
        self._released = True
        if self._session is None:
            return
        with trio.move_on_after(FAREWELL_SECONDS, shield=True), suppress(RemoteError):
            await self._session.send(Release(words(reason)))
            await self._session.stream.close()

    async def _open(self, deps: RunDeps, nursery: trio.Nursery) -> Stream:
        if self.peer == deps.identity.peer:
            ours, theirs = stream_pair(self.peer)
            nursery.start_soon(_serve_here, theirs, deps)
            return ours
        with trio.move_on_after(DIAL_SECONDS):
            if self.peer not in deps.transport.connected():
                advert = deps.adverts().get(self.peer)
                await deps.transport.dial(self.peer, advert.addresses if advert else ())
            return await deps.transport.open_stream(self.peer, SESSION_PROTOCOL)
        raise PeerLost(f"did not answer within {DIAL_SECONDS:.0f} s")

    async def _listen(self, session: Session) -> None:
        while True:
            message = await session.receive()
            self.conduct.check(message, beats=self._beats, step=self._record.step)
            if not self._released:
                self._hear(self.peer, message)

    async def _beat(self, session: Session) -> None:
        while True:
            await trio.sleep(HEARTBEAT_SECONDS)
            self._beats += 1
            await session.send(Heartbeat(self._beats))


async def _serve_here(stream: Stream, deps: RunDeps) -> None:
    """The member on this node; its end is the session's end, never the coordinator's."""
    try:
        await take_part(stream, deps)
    except* SwarmdError as group:
        deps.events.warning(f"the stage on this node ended: {_reasons(group)}")
    finally:
        await stream.reset()


def _reasons(group: BaseExceptionGroup[SwarmdError]) -> str:
    leaves: list[str] = []
    for error in group.exceptions:
        leaves.append(_reasons(error) if isinstance(error, BaseExceptionGroup) else error.message)
    return "; ".join(leaves)
