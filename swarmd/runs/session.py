"""Typed messages over a stream, and a pair of streams inside one node.

The coordinator talks to the stage on its own node through ``stream_pair``, so that it has one way of
talking to members wherever they are.
"""

from __future__ import annotations

import trio

from swarmd.net.rpc import receive_message, send_message
from swarmd.net.transport import Stream
from swarmd.protocols.errors import PeerLost
from swarmd.protocols.ids import PeerId
from swarmd.protocols.messages import MAX_SESSION_MESSAGE
from swarmd.protocols.registry import Registry


class Session:
    """One side of a session: sends any message, receives the kinds it was made for."""

    def __init__(self, stream: Stream, sends: tuple[type[object], ...], receives: tuple[type[object], ...]) -> None:
        self.stream = stream
        self._sends, self._receives = Registry(*sends), Registry(*receives)
        self._sending = trio.Lock()

    @property
    def remote(self) -> PeerId:
        """Who is at the other end, proven."""
        return self.stream.remote

    async def send(self, message: object) -> None:
        """Send a message whole. Raises PeerLost."""
        payload = self._sends.encode(message)
        async with self._sending:
            await send_message(self.stream, payload, MAX_SESSION_MESSAGE)

    async def receive(self) -> object:
        """The next message. Raises PeerLost, or ProtocolViolation for anything this side cannot take."""
        await trio.lowlevel.checkpoint()  # a peer may have sent many at once: others get their turn
        return self._receives.decode(await receive_message(self.stream, MAX_SESSION_MESSAGE), MAX_SESSION_MESSAGE)


class PipeStream:
    """One end of a stream that never leaves the process."""

    def __init__(
        self,
        remote: PeerId,
        sender: trio.MemorySendChannel[bytes],
        receiver: trio.MemoryReceiveChannel[bytes],
    ) -> None:
        self.remote = remote
        self._sender, self._receiver = sender, receiver
        self._kept = bytearray()

    async def receive_exactly(self, count: int) -> bytes:
        """Exactly ``count`` bytes. Raises PeerLost at the end."""
        try:
            while len(self._kept) < count:
                self._kept += await self._receiver.receive()
        except (trio.EndOfChannel, trio.ClosedResourceError):
            raise PeerLost("the session on this node has ended") from None
        data = bytes(self._kept[:count])
        del self._kept[:count]
        return data

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Hand bytes over; waits while 64 pieces lie unread. Raises PeerLost."""
        try:
            await self._sender.send(bytes(data))
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            raise PeerLost("the session on this node has ended") from None

    async def close(self) -> None:
        """End our side."""
        self._sender.close()

    async def reset(self) -> None:
        """End both sides."""
        self._sender.close()
        self._receiver.close()


def stream_pair(peer: PeerId) -> tuple[PipeStream, PipeStream]:
    """Two ends joined in memory, both of which name ``peer`` as the other."""
    to_right, from_left = trio.open_memory_channel[bytes](64)
    to_left, from_right = trio.open_memory_channel[bytes](64)
    return PipeStream(peer, to_right, from_right), PipeStream(peer, to_left, from_left)
