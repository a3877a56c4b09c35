"""One large thing over a connection of its own, after which the connection ends.

Its bytes have no header: both ends know their number beforehand, and what they are is checked by
whoever keeps them. They wait for whatever is more urgent: under a rate cap by their rank, without one by a
window that keeps the queue on the path short.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import BinaryIO

from swarmd.net.tensorlink.connection import Connection
from swarmd.net.tensorlink.tcp_info import keep_little_unsent, path_of
from swarmd.net.tensorlink.throttle import Share, Throttle
from swarmd.net.tensorlink.wire import WireReader, WireWriter
from swarmd.net.tensorlink.worker import run_interruptible
from swarmd.protocols.errors import PeerLost, SwarmdError
from swarmd.scheduler.background import BackgroundWindow
from swarmd.scheduler.sharing import Rank

_PIECE_BYTES = 128 * 1024
_STALL_SECONDS = 20.0


async def send_bulk(connection: Connection, file: BinaryIO, size: int, throttle: Throttle | None = None) -> None:
    """Send ``size`` bytes of a file, in a thread, and close the connection.

    Raises PeerLost if the peer goes away or takes nothing, or the file ends early.
    """
    writer = WireWriter(connection.tls, throttle)
    keep_little_unsent(connection.tls)
    await _carry(connection, writer.share, lambda: _send(connection, writer, file, size), "swarmd-bulk-out")


async def receive_bulk(
    connection: Connection, size: int, write: Callable[[memoryview], object], throttle: Throttle | None = None
) -> None:
    """Hand ``size`` bytes to ``write`` piece by piece, in a thread, and close the connection.

    Raises PeerLost if the peer goes away or falls silent, and the SwarmdError that ``write`` raises.
    """
    reader = WireReader(connection.tls, throttle)
    await _carry(connection, reader.share, lambda: _receive(reader, size, write), "swarmd-bulk-in")


async def _carry(connection: Connection, share: Share, body: Callable[[], None], name: str) -> None:
    def interrupt() -> None:
        connection.interrupt()
        share.stop()

    def contained() -> SwarmdError | None:
        """An error is handed over, not raised: beside a cancellation it would become a group."""
        try:
            body()
        except SwarmdError as error:
            return error
        return None

    connection.begin(_STALL_SECONDS)
    try:
        failure = await run_interruptible(contained, interrupt, name)
    finally:
        connection.close()
    if failure is not None:
        raise failure


def _send(connection: Connection, writer: WireWriter, file: BinaryIO, size: int) -> None:
    window = BackgroundWindow()
    buffer = memoryview(bytearray(min(size, _PIECE_BYTES)))
    left = size
    while left:
        piece = buffer[: min(left, _PIECE_BYTES)]
        if file.readinto(piece) != len(piece):  # type: ignore[attr-defined]
            raise PeerLost("what was being sent has changed on disk")
        _wait_for_room(connection, writer, window)
        writer.write(piece, Rank.BULK)
        left -= len(piece)


def _wait_for_room(connection: Connection, writer: WireWriter, window: BackgroundWindow) -> None:
    while (path := path_of(connection.tls)) is not None and (pause := window.pause(path)):
        writer.share.pause(pause)


def _receive(reader: WireReader, size: int, write: Callable[[memoryview], object]) -> None:
    buffer = memoryview(bytearray(min(size, _PIECE_BYTES)))
    left = size
    while left:
        piece = buffer[: min(left, _PIECE_BYTES)]
        reader.fill(piece, Rank.BULK)
        write(piece)
        left -= len(piece)
