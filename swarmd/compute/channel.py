"""Messages over one end of a socket pair, blocking, from any thread."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress

from swarmd.protocols.errors import ProtocolViolation
from swarmd.protocols.registry import Registry

_LENGTH = struct.Struct("!I")
MAX_MESSAGE = 1 << 22


class Channel:
    """One end: ``send`` from any thread, ``receive`` from one."""

    def __init__(
        self, sock: socket.socket, sends: tuple[type[object], ...], receives: tuple[type[object], ...]
    ) -> None:
        self._socket = sock
        self._sends, self._receives = Registry(*sends), Registry(*receives)
        self._sending = threading.Lock()

    def send(self, message: object) -> None:
        """Send a message whole. Raises BrokenPipeError or ConnectionError when the other end is gone."""
        body = self._sends.encode(message)
        with self._sending:
            self._socket.sendall(_LENGTH.pack(len(body)) + body)

    def receive(self) -> object | None:
        """The next message; None when the other end is gone. Raises ProtocolViolation."""
        head = self._exactly(_LENGTH.size)
        if head is None:
            return None
        (length,) = _LENGTH.unpack(head)
        if length > MAX_MESSAGE:
            raise ProtocolViolation(f"a message of {length} bytes between daemon and compute process")
        body = self._exactly(length)
        return None if body is None else self._receives.decode(body, MAX_MESSAGE)

    def close(self) -> None:
        """End both directions, which wakes a blocked ``receive``."""
        with suppress(OSError):  # the other end was first
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _exactly(self, count: int) -> bytes | None:
        data = bytearray(count)
        view, got = memoryview(data), 0
        while got < count:
            try:
                more = self._socket.recv_into(view[got:])
            except (ConnectionError, OSError):
                return None
            if more == 0:
                return None
            got += more
        return bytes(data)
