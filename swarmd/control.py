"""The control socket's server: the requests and replies described in ``protocols.control``.

Each connection is one request with a deadline, and has a nursery's edge of its own: whatever a method
raises becomes an error reply, and never ends the daemon. A reader of a stream who does not keep up is
hung up on.
"""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import trio

from swarmd.protocols.control import CONTROL_VERSION, MAX_LINE_BYTES
from swarmd.protocols.errors import Refused, SwarmdError, TimedOut, UsageError
from swarmd.tomlfile import nearest
from swarmd.unix_socket import private_listener

T = TypeVar("T")
Answer = dict[str, Any]
Method = Callable[[dict[str, Any]], "Awaitable[Answer] | AsyncGenerator[Answer, None]"]
"""From the request's parameters to one result, or as an async generator to a stream."""

MAX_REQUEST_BYTES = 1 << 16
MAX_CONNECTIONS = 64
"""At once; one more is answered with Refused."""
REQUEST_SECONDS = 5.0
SEND_SECONDS = 10.0
"""How long a reader may leave a full socket buffer unread before it is hung up on."""

_logger = logging.getLogger(__name__)


def param(params: Mapping[str, Any], name: str, kind: type[T], default: T | None = None) -> T:
    """A parameter of exactly this type; ``default`` for a missing one or null. Raises UsageError."""
    value = params.get(name)
    if value is None and default is not None:
        return default
    if type(value) is not kind:
        raise UsageError(f"the parameter {name!r} must be a {kind.__name__}", hint="see protocols/control.py")
    return value


async def serve_control(
    path: Path,
    methods: Mapping[str, Method],
    *,
    task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer requests on a unix socket that only our user can open, until cancelled.

    Raises:
        StateError: another daemon answers there, or the socket cannot be made.
    """
    server = _Server(methods)
    async with private_listener(path, MAX_CONNECTIONS) as listener:
        await trio.serve_listeners(server.serve, [listener], task_status=_Started(task_status))


@dataclass(frozen=True, slots=True)
class _Started:
    """Passes on that serving has begun, without the listeners."""

    told: trio.TaskStatus[None]

    def started(self, _listeners: object = None) -> None:
        self.told.started()


class _HungUp(Exception):
    """The client left, or does not read."""


class _Server:
    def __init__(self, methods: Mapping[str, Method]) -> None:
        self._methods = methods
        self._open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection, from request to hang-up. Nothing but cancellation leaves here."""
        self._open += 1
        try:
            async with stream:
                await self._converse(stream)
        except _HungUp:
            _logger.debug("a control client left, or did not read")
        finally:
            self._open -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        try:
            line = await _read_line(stream)
            if self._open > MAX_CONNECTIONS:
                raise Refused(f"more than {MAX_CONNECTIONS} clients at once", hint="close some and try again")
            if line is not None:
                await self._answer(stream, *_parse(line))
        except Exception as error:  # noqa: BLE001 - the edge: no request may end the daemon
            await _send(stream, {"error": _error_fields(_cause(error))})

    async def _answer(self, stream: trio.SocketStream, name: str, params: dict[str, Any]) -> None:
        method = self._methods.get(name)
        if method is None:
            raise UsageError(f"there is no method {name[:64]!r}", hint=nearest(name[:64], self._methods))
        answer = method(params)
        if isinstance(answer, AsyncGenerator):
            await _send_all(stream, answer)
        else:
            await _send(stream, {"result": await answer})


async def _read_line(stream: trio.SocketStream) -> bytes | None:
    """The request's line; None when the client hangs up without one."""
    line = bytearray()
    with trio.move_on_after(REQUEST_SECONDS) as scope:
        while b"\n" not in line:
            if len(line) > MAX_REQUEST_BYTES:
                raise UsageError(f"the request is over {MAX_REQUEST_BYTES} bytes")
            part = await _receive(stream)
            if not part:
                return None
            line += part
    if scope.cancelled_caught:
        raise TimedOut(f"no whole request came within {REQUEST_SECONDS:g} s")
    return bytes(line[: line.index(b"\n")])


def _parse(line: bytes) -> tuple[str, dict[str, Any]]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError("the request is not JSON") from error
    match request:
        case {"v": int(version)} if version != CONTROL_VERSION:
            raise UsageError(
                f"the daemon speaks version {CONTROL_VERSION} of the control protocol, not {version}",
                hint="restart the daemon after an upgrade: swarmd down, swarmd up",
            )
        case {"v": int(), "method": str(name), "params": dict(params)}:
            return name, params
        case _:
            raise UsageError('a request is {"v": 1, "method": NAME, "params": {...}}')


async def _send_all(stream: trio.SocketStream, results: AsyncGenerator[Answer, None]) -> None:
    async with aclosing(results), trio.open_nursery() as nursery:
        nursery.start_soon(_cancel_at_hang_up, stream, nursery.cancel_scope)
        async for result in results:
            await _send(stream, {"result": result})
        nursery.cancel_scope.cancel()


async def _cancel_at_hang_up(stream: trio.SocketStream, scope: trio.CancelScope) -> None:
    while await _receive(stream):
        pass
    scope.cancel()


async def _receive(stream: trio.SocketStream) -> bytes:
    try:
        return bytes(await stream.receive_some(MAX_REQUEST_BYTES))
    except trio.BrokenResourceError:
        return b""


async def _send(stream: trio.SocketStream, reply: dict[str, Any]) -> None:
    line = json.dumps(reply).encode() + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise ValueError(f"a reply of {len(line)} bytes")
    try:
        with trio.fail_after(SEND_SECONDS):
            await stream.send_all(line)
    except (trio.BrokenResourceError, trio.TooSlowError) as error:
        raise _HungUp from error


def _cause(error: Exception) -> Exception:
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


def _error_fields(error: Exception) -> dict[str, str]:
    if isinstance(error, _HungUp):
        raise error
    if isinstance(error, SwarmdError):
        return {"code": error.code, "message": error.message, "hint": error.hint}
    _logger.error("a control request failed", exc_info=error)
    return {
        "code": "internal",
        "message": f"the daemon failed at this: {type(error).__name__}: {str(error)[:500]}",
        "hint": "this is a fault of swarmd; its log has the details",
    }
