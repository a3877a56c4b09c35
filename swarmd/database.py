"""One SQLite file behind one writer: whoever gets an answer to a write has it on disk.

WAL: a commit survives a killed process, and with ``synchronous=FULL`` a power cut too; with NORMAL, a power cut
takes what was committed since the last checkpoint. Writers queue on a bounded
channel; one task takes all that wait, runs each in a savepoint, commits once in a worker thread, and only
then answers. Readers use connections of their own in worker threads and wait for nobody.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from typing import Any, TypeVar, cast

import trio

from swarmd.protocols.errors import StateError
from swarmd.sqlitefile import Schema, Synchronous, explained, open_database, open_read_only, roll_back

T = TypeVar("T")
Work = Callable[[sqlite3.Connection], T]
"""Runs in a worker thread, inside a transaction; ends quickly and touches nothing else."""

QUEUE = 256
"""Writes that may wait; a writer that finds the queue full waits for room."""
BATCH = 128
"""Writes that one commit may hold."""
READERS = 4

_logger = logging.getLogger(__name__)


@dataclass(slots=True)
class _Writer:
    connection: sqlite3.Connection
    path: Path
    cure: str
    checkpoint_seconds: float | None
    checkpoint_at: float = inf
    """When the oldest commit that no checkpoint covers is to be covered, by trio's clock."""

    def wrote(self, now: float) -> None:
        """Something was committed."""
        if self.checkpoint_seconds is not None:
            self.checkpoint_at = min(self.checkpoint_at, now + self.checkpoint_seconds)


@dataclass(slots=True)
class _Request:
    work: Work[Any]
    posted: bool = False
    """Nobody waits for the answer."""
    answered: trio.Event = field(default_factory=trio.Event)
    result: Any = None
    error: Exception | None = None


class Database:
    """The running database. Made by ``serve_database``."""

    def __init__(self, path: Path, schema: Schema, queue: trio.MemorySendChannel[_Request]) -> None:
        self._path = path
        self._cure = schema.cure
        self._queue = queue
        self._readers = trio.CapacityLimiter(READERS)

    async def write(self, work: Work[T]) -> T:
        """Run ``work`` in the writer; its result once committed. A cancelled call may still be written.

        Raises:
            StateError: the disk is full, the file is damaged, or the database is closed.
            Exception: what ``work`` raised; nothing of it is kept.
        """
        request = _Request(work)
        try:
            await self._queue.send(request)
        except trio.BrokenResourceError:
            raise _closed() from None
        await request.answered.wait()
        if request.error is not None:
            raise request.error
        return cast("T", request.result)

    def post(self, work: Work[object]) -> bool:
        """Have ``work`` run in the writer without waiting; errors go to the log. False: the queue is full."""
        try:
            self._queue.send_nowait(_Request(work, posted=True))
        except (trio.WouldBlock, trio.BrokenResourceError):
            return False
        return True

    async def read(self, work: Work[T]) -> T:
        """Run ``work`` on a read-only view of the last commit. Raises as ``write``."""
        return await trio.to_thread.run_sync(_read, self._path, self._cure, work, limiter=self._readers)


async def serve_database(
    path: Path,
    schema: Schema,
    *,
    synchronous: Synchronous = "FULL",
    checkpoint_seconds: float | None = None,
    task_status: trio.TaskStatus[Database] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Open, check and migrate the file, then write what is asked until cancelled.

    With ``checkpoint_seconds``, everything committed is safe from a power cut so long after it at the latest.

    Raises:
        StateError: the file cannot be opened, is damaged, is another program's, or is of a newer version.
    """
    connection = await trio.to_thread.run_sync(lambda: open_database(path, schema, synchronous=synchronous))
    writer = _Writer(connection, path, schema.cure, checkpoint_seconds)
    send, receive = trio.open_memory_channel[_Request](QUEUE)
    try:
        task_status.started(Database(path, schema, send))
        await _write_all(writer, receive)
    finally:
        connection.close()


async def _write_all(writer: _Writer, receive: trio.MemoryReceiveChannel[_Request]) -> None:
    batch: list[_Request] = []
    thread = trio.CapacityLimiter(1)
    try:
        while True:
            with trio.move_on_at(writer.checkpoint_at):
                batch.append(await receive.receive())
                _drain(receive, batch)
            if batch:
                await trio.to_thread.run_sync(_commit, writer, batch, limiter=thread)
                _answer(batch)
                writer.wrote(trio.current_time())
            if trio.current_time() >= writer.checkpoint_at:
                await trio.to_thread.run_sync(_checkpoint, writer.connection, limiter=thread)
                writer.checkpoint_at = inf
    finally:
        _refuse(receive, batch)


def _drain(receive: trio.MemoryReceiveChannel[_Request], batch: list[_Request]) -> None:
    while len(batch) < BATCH:
        try:
            batch.append(receive.receive_nowait())
        except trio.WouldBlock:
            return


def _answer(batch: list[_Request]) -> None:
    for request in batch:
        if request.posted and request.error is not None:
            _logger.warning("a record was not kept: %s", request.error)
        request.answered.set()
    batch.clear()


def _refuse(receive: trio.MemoryReceiveChannel[_Request], batch: list[_Request]) -> None:
    _drain(receive, batch)
    while batch:
        for request in batch:
            request.error = _closed()
        _answer(batch)
        _drain(receive, batch)
    receive.close()


def _checkpoint(connection: sqlite3.Connection) -> None:
    """Bring the log into the file, as far as no reader needs it. The next one makes up for a failure."""
    try:
        connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()
    except sqlite3.Error as error:
        _logger.warning("a checkpoint failed: %s", error)


def _commit(writer: _Writer, batch: list[_Request]) -> None:
    """One transaction: a request that fails leaves the others whole, a commit that fails keeps none."""
    connection = writer.connection
    try:
        with explained(writer.path, writer.cure):
            connection.execute("BEGIN IMMEDIATE")
            for request in batch:
                _run(writer, request)
            connection.execute("COMMIT")
    except StateError as error:
        roll_back(connection)
        for request in batch:
            request.error = request.error or StateError(error.message, hint=error.hint)


def _run(writer: _Writer, request: _Request) -> None:
    connection = writer.connection
    connection.execute("SAVEPOINT request")
    try:
        with explained(writer.path, writer.cure):
            request.result = request.work(connection)
    except Exception as error:
        request.error = error
        if not connection.in_transaction:  # SQLite itself gave up the whole transaction: the disk is full
            raise StateError(str(error), hint=getattr(error, "hint", "")) from error
        connection.execute("ROLLBACK TO request")
    connection.execute("RELEASE request")


def _read(path: Path, cure: str, work: Work[T]) -> T:
    with explained(path, cure), closing(open_read_only(path)) as connection:
        connection.execute("BEGIN")
        return work(connection)


def _closed() -> StateError:
    return StateError("the database is closed: the daemon is stopping", hint="try again once it runs")
