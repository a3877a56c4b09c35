"""Copies of ``self.db``, and their return. An old copy does not know what was signed since, and would sign it anew.

So every copy is marked as restored when it is made, and again when it is put back: from then on nothing can be
signed with it (``SelfStore.restored``) until peers confirmed the account's newest entry. The file alone is no
account: it needs the node's key.
"""

from __future__ import annotations

import os
import sqlite3
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from swarmd.ledger import duties
from swarmd.ledger.schemas import SELF_SCHEMA
from swarmd.protocols.errors import NotFound, StateError
from swarmd.sqlitefile import explained, open_database

_BESIDE = ("", "-wal", "-shm", "-journal")
"""What SQLite adds to a database's name for the files that belong to it."""


def copy_account(source: Path, target: Path) -> None:
    """Copy ``self.db`` as it is now into a new file; works beside the running daemon. Blocks.

    Raises:
        NotFound: there is no ``source``.
        StateError: it is damaged or no ``self.db``; ``target`` is there already or cannot be written.
    """
    if not source.exists():
        raise NotFound(f"there is no {source}", hint="this node has signed nothing yet: its key alone is enough")
    with _new_file(target) as place, closing(open_database(source, SELF_SCHEMA)) as original:
        with explained(place), closing(sqlite3.connect(place, isolation_level=None)) as copy:
            original.backup(copy)
        _mark(place)


def account_copy(source: Path) -> bytes:
    """As ``copy_account``, in memory."""
    with tempfile.TemporaryDirectory(dir=source.parent, prefix=".copy-") as folder:
        place = Path(folder) / source.name
        copy_account(source, place)
        return place.read_bytes()


def restore_account(copy: bytes, target: Path, *, newest: bool = False) -> None:
    """Put a copy's bytes in place, where no account is yet. Blocks; the daemon must not run.

    ``newest`` is the owner's word that nothing was signed after the copy was made: the mark is taken off. A committee
    that cannot certify without this node could never go on otherwise, for nobody else knows what it voted for.

    Raises:
        StateError: there is an account already, which may know more; or the copy is damaged, no ``self.db``, or of a
            newer version.
    """
    for beside in _BESIDE:
        _refuse_existing(target.with_name(target.name + beside))
    with _new_file(target) as place:
        place.write_bytes(copy)
        _mark(place, newest=newest)


def _mark(place: Path, *, newest: bool = False) -> None:
    """Check the file, mark it as restored or as the newest, and leave it as one file without a log."""
    with closing(open_database(place, SELF_SCHEMA)) as db, explained(place):
        db.execute("BEGIN IMMEDIATE")
        if newest:
            duties.declare_newest(db)
        else:
            duties.mark_restored(db, int(time.time()))
        db.execute("COMMIT")
        db.execute("PRAGMA journal_mode=DELETE").fetchone()


@contextmanager
def _new_file(target: Path) -> Iterator[Path]:
    """A file to fill, which then gets its name: whole and on disk, or not at all, and never in another's place."""
    try:
        with tempfile.TemporaryDirectory(dir=target.parent, prefix=".new-") as folder:
            place = Path(folder) / target.name
            os.close(os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            yield place
            _sync(place)
            os.link(place, target)
        _sync(target.parent)
    except FileExistsError:
        _refuse_existing(target)
        raise
    except OSError as error:
        raise StateError(f"cannot write {target}: {error.strerror}", hint="choose another place") from error


def _refuse_existing(path: Path) -> None:
    if path.exists():
        raise StateError(
            f"{path} is there already, and may know more than a copy",
            hint="choose another place",
        )


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
