"""Whose a database is: the account and the network that are written into it when it is first used.

Files of two nodes, or of two networks, that were put into one folder would be signed with and voted by together;
so a file that does not fit is refused before anything reads it.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from swarmd.protocols.errors import StateError
from swarmd.protocols.ids import NetworkId, PeerId
from swarmd.sqlitefile import open_read_only

OWNER_TABLE = "CREATE TABLE owner (account TEXT NOT NULL, network TEXT NOT NULL);"


@dataclass(frozen=True, slots=True)
class Owner:
    """An account of a network."""

    account: PeerId
    network: NetworkId


def hold_to(db: sqlite3.Connection, place: Path, owner: Owner, *, mark: bool) -> None:
    """Refuse a file that is another's; with ``mark``, one that is nobody's yet becomes this owner's.

    Raises StateError: the file is of another account or network; says which, and what to put back.
    """
    found = _owner(db)
    if found is not None and found != owner:
        raise mismatch(place, found, owner)
    if found is None and mark:
        db.execute("INSERT INTO owner VALUES (?, ?)", (owner.account, owner.network))


def owner_of(place: Path) -> Owner | None:
    """Whose a file is; None if there is none, or it does not say, or cannot be read."""
    if not place.exists():
        return None
    try:
        with closing(open_read_only(place)) as db:
            return _owner(db)
    except sqlite3.Error:
        return None


def mismatch(place: Path, found: Owner, owner: Owner) -> StateError:
    """The error for a file of ``found`` beside the key and network of ``owner``."""
    folder = place.parent
    if found.account != owner.account:
        return StateError(
            f"{place} is of the account {found.account}, and {folder / 'key.pem'} is the key of {owner.account}: "
            "they are of different nodes",
            hint=f"put back the key.pem of {found.account}; or, if the key is the right one, put back its own "
            f"{place.name}, or its newest backup: swarmd key restore FILE --force",
        )
    return StateError(
        f"{place} is of the network {found.network}, and {folder / 'network.toml'} names {owner.network}",
        hint="put back the network.toml of that network, or type: swarmd network join INVITE "
        "(another node of it prints one: `network invite`)",
    )


def _owner(db: sqlite3.Connection) -> Owner | None:
    if db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'owner'").fetchone() is None:
        return None
    row = db.execute("SELECT account, network FROM owner").fetchone()
    return None if row is None else Owner(PeerId(row[0]), NetworkId(row[1]))
