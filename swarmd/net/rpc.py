"""Requests and answers: one stream for each, one message each way.

A handler that raises a SwarmdError sends it to the caller as words; there it is raised as a RemoteError,
so that whoever asks a peer catches that one class and PeerLost for silence is one of them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import trio

from swarmd.net.long_requests import LONG, LongRequests
from swarmd.net.transport import Stream, StreamLimits, Transport
from swarmd.protocols.errors import (
    NotFound,
    PeerLost,
    ProtocolViolation,
    RemoteError,
    SwarmdError,
    TimedOut,
    by_code,
)
from swarmd.protocols.framing import MAX_MESSAGE_BYTES, PREFIX_BYTES, frame, payload_length
from swarmd.protocols.ids import PeerId, short
from swarmd.protocols.registry import Registry

Reply = TypeVar("Reply")
RpcHandler = Callable[[PeerId, Any], Awaitable[object]]
"""(peer, request) -> answer; what it raises as a SwarmdError travels back."""

CLOSE_SECONDS = 2.0
MAX_REASON_CHARS = 500

_TEXT_CODE_CHARS = 32


class RemoteNotFound(RemoteError, NotFound):
    """The peer has no such thing."""


@dataclass(frozen=True, slots=True)
class Failure:
    """An answer that is an error."""

    code: str
    message: str
    hint: str

    def __post_init__(self) -> None:
        """Raises ValueError for texts longer than any honest peer sends."""
        if len(self.code) > _TEXT_CODE_CHARS or max(len(self.message), len(self.hint)) > MAX_REASON_CHARS:
            raise ValueError("an error's text is too long")


async def send_message(stream: Stream, payload: bytes, limit: int = MAX_MESSAGE_BYTES) -> None:
    """Send one message. Raises PeerLost, or ValueError over ``limit`` bytes."""
    await stream.send_all(frame(payload, limit))


async def receive_message(stream: Stream, limit: int = MAX_MESSAGE_BYTES) -> bytes:
    """The next message. Raises PeerLost if the stream ends first, ProtocolViolation over ``limit`` bytes."""
    length = payload_length(await stream.receive_exactly(PREFIX_BYTES), limit)
    return await stream.receive_exactly(length) if length else b""


def serve_rpc(
    transport: Transport,
    protocol: str,
    handlers: Mapping[type[Any], RpcHandler],
    *,
    limits: StreamLimits | None = None,
    max_bytes: int = MAX_MESSAGE_BYTES,
    timeout: float = 30.0,
) -> None:
    """Answer requests on a protocol from now on, each by the handler of its type, within ``timeout`` seconds.

    Any number of nodes' requests run at once, at most ``limits.streams_per_peer`` of one peer.
    """
    requests, long = Registry(*handlers), LongRequests()

    async def serve(stream: Stream) -> None:
        violation: ProtocolViolation | None = None
        async with closing(stream):
            length = payload_length(await stream.receive_exactly(PREFIX_BYTES), max_bytes)
            try:
                answer = await _answer(stream.remote, await _read(stream, length))
            except ProtocolViolation as error:
                violation, answer = error, failure_of(error)
            await send_message(stream, Registry(type(answer)).encode(answer), max_bytes)
        if violation is not None:
            raise violation  # the transport counts it

    async def _read(stream: Stream, length: int) -> object:
        if length > LONG:
            return await long.receive(stream, length, decode)
        return decode(await stream.receive_exactly(length) if length else b"")

    def decode(raw: bytes) -> object:
        return requests.decode(raw, max_bytes)

    async def _answer(peer: PeerId, request: object) -> object:
        try:
            with trio.fail_after(timeout):
                return await handlers[type(request)](peer, request)
        except trio.TooSlowError:
            return failure_of(TimedOut(f"no answer within {timeout:g} s"))
        except SwarmdError as error:
            return failure_of(error)

    transport.handle(protocol, serve, limits or StreamLimits())


async def call(
    transport: Transport,
    peer: PeerId,
    protocol: str,
    request: object,
    reply: type[Reply],
    *,
    timeout: float = 10.0,  # noqa: ASYNC109 - the cancel scope is here, so that the stream is reset inside it
    max_bytes: int = MAX_MESSAGE_BYTES,
) -> Reply:
    """Ask a connected peer and return its answer, of type ``reply``.

    Raises:
        PeerLost: not connected, gone, or silent for ``timeout`` seconds.
        Refused: it does not speak the protocol, or says no.
        RemoteNotFound: it has no such thing (also a NotFound).
        ProtocolViolation: its answer is not a ``reply``.
        RemoteError: any other failure it reports.
    """
    question = Registry(type(request)).encode(request)
    with trio.move_on_after(timeout):
        async with closing(await transport.open_stream(peer, protocol)) as stream:
            await send_message(stream, question, max_bytes)
            raw = await receive_message(stream, max_bytes)
        answer = Registry(reply, Failure).decode(raw, max_bytes)
        if isinstance(answer, Failure):
            raise remote_error(answer)
        return cast("Reply", answer)
    raise PeerLost(f"{short(peer)} gave no answer to {type(request).__name__} within {timeout:g} s")


@asynccontextmanager
async def closing(stream: Stream) -> AsyncIterator[Stream]:
    """Close the stream after the block; reset it if the block fails or is cancelled."""
    try:
        yield stream
    except BaseException:
        with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
            await stream.reset()
        raise
    with trio.CancelScope(shield=True, deadline=trio.current_time() + CLOSE_SECONDS):
        await stream.close()


def failure_of(error: SwarmdError) -> Failure:
    """An error as it travels."""
    return Failure(error.code, error.message[:MAX_REASON_CHARS], error.hint[:MAX_REASON_CHARS])


def remote_error(failure: Failure) -> RemoteError:
    """A peer's failure as the error to raise here. A fault of the peer's own is never taken for ours."""
    error = by_code(failure.code, failure.message, failure.hint)
    if isinstance(error, RemoteError):
        return error
    kind = RemoteNotFound if isinstance(error, NotFound) else RemoteError
    return kind(failure.message, hint=failure.hint)
