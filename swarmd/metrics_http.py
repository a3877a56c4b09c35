"""A web server with one page, ``GET /metrics``, for Prometheus.

HTTP by h11; one request a connection, so a deadline on the connection bounds everything.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

import h11
import trio

from swarmd.protocols.errors import StateError

MAX_HEADER_BYTES = 8192
MAX_CONNECTIONS = 8
"""At once; one more is closed unanswered."""
DEADLINE_SECONDS = 5.0
_logger = logging.getLogger(__name__)
_TYPE = b"text/plain; version=0.0.4; charset=utf-8"


async def serve_metrics(
    host: str,
    port: int,
    text: Callable[[], bytes],
    *,
    task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve what ``text`` gives until cancelled; ``task_status`` is told the port.

    Raises:
        StateError: the port is taken, or the host is not ours.
    """
    try:
        listeners = await trio.open_tcp_listeners(port, host=host)
    except OSError as error:
        raise StateError(
            f"cannot serve metrics on {host} port {port}: {error.strerror}",
            hint="choose another with --metrics HOST:PORT, or --metrics off",
        ) from error
    page = _Page(text)
    task_status.started(listeners[0].socket.getsockname()[1])
    await trio.serve_listeners(page.serve, listeners)


class _Page:
    def __init__(self, text: Callable[[], bytes]) -> None:
        self._text = text
        self._open = 0

    async def serve(self, stream: trio.SocketStream) -> None:
        """One connection. A client that is slow, leaves, or speaks no HTTP costs itself its answer."""
        self._open += 1
        try:
            async with stream:
                if self._open <= MAX_CONNECTIONS:
                    with trio.move_on_after(DEADLINE_SECONDS):
                        await self._converse(stream)
        except trio.BrokenResourceError:
            return
        except Exception:
            _logger.exception("a request for metrics failed")
        finally:
            self._open -= 1

    async def _converse(self, stream: trio.SocketStream) -> None:
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEADER_BYTES)
        try:
            request = await _request(http, stream)
        except h11.RemoteProtocolError as error:
            await stream.send_all(_reply(http, error.error_status_hint, b"not a request for metrics\n"))
            await _let_read(stream)
            return
        if request is not None:
            status, body = self._page(request)
            await stream.send_all(_reply(http, status, body, bare=request.method == b"HEAD"))

    def _page(self, request: h11.Request) -> tuple[int, bytes]:
        if request.method not in (b"GET", b"HEAD"):
            return 405, b"only GET\n"
        if request.target.partition(b"?")[0] != b"/metrics":
            return 404, b"the only page is /metrics\n"
        return 200, self._text()


async def _request(http: h11.Connection, stream: trio.SocketStream) -> h11.Request | None:
    while True:
        event = http.next_event()
        if event is h11.NEED_DATA:
            http.receive_data(await stream.receive_some(MAX_HEADER_BYTES))
        elif isinstance(event, h11.Request):
            return event
        else:
            return None


async def _let_read(stream: trio.SocketStream) -> None:
    # Closing on bytes that were not read would reset the connection, and the reply with it.
    await stream.send_eof()
    while await stream.receive_some(MAX_HEADER_BYTES):
        pass


def _reply(http: h11.Connection, status: int, body: bytes, *, bare: bool = False) -> bytes:
    length = str(len(body)).encode()
    headers = [(b"content-type", _TYPE), (b"content-length", length), (b"connection", b"close")]
    head = http.send(h11.Response(status_code=status, headers=headers)) or b""
    return head if bare else head + (http.send(h11.Data(data=body)) or b"")
