"""Files of a node that make room for others: moved into a folder of their own, none deleted."""

from __future__ import annotations

import os
from collections.abc import Iterable
from itertools import count
from pathlib import Path

from swarmd.protocols.errors import StateError

_BESIDE = ("", "-wal", "-shm")
"""What SQLite adds to a database's name."""


def new_folder(wanted: Path) -> Path:
    """A folder of this name, or with a number if it is taken. Raises OSError."""
    for number in count(1):
        folder = wanted if number == 1 else wanted.with_name(f"{wanted.name}-{number}")
        try:
            folder.mkdir(mode=0o700)
        except FileExistsError:
            continue
        return folder
    raise AssertionError("unreachable")


def move_into(folder: Path, places: Iterable[Path]) -> None:
    """Move those of these files that are there, with what belongs to them, in this order. Raises OSError."""
    for base in places:
        for each in (base.with_name(base.name + ending) for ending in _BESIDE):
            if os.path.lexists(each):
                os.replace(each, folder / each.name)


def cannot_move(error: OSError) -> StateError:
    """The error for a file that cannot be moved."""
    return StateError(
        f"cannot move files aside: {error.filename}: {error.strerror}",
        hint="free disk space, or choose another --state-dir",
    )
