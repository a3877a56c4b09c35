"""Putting a node's folder on another network: what that leaves behind is said first, and kept."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from swarmd.invite import MAX_INVITE_CHARS, PREFIX, parse_invite
from swarmd.ledger.ownership import Owner, owner_of
from swarmd.network import MAIN, Network, as_toml, load_network, network_of, save_network, with_contacts
from swarmd.paths import Paths
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import format_credits
from swarmd.set_aside import cannot_move, move_into, new_folder
from swarmd.tomlfile import read_toml


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of a folder."""

    network: Network
    left: Path | None = None
    """Where the files of the network before it are now; None if there was nothing to keep."""


def enter_network(
    paths: Paths, me: PeerId, network: Network, *, force: bool = False, again: str = "give --force"
) -> Entered:
    """Put the folder on a network; the caller holds its lock.

    From no network, or from the main one where nothing was signed, that is all. Leaving any other one takes
    ``force``, and moves its files into a folder of their own. Entering the present network adds its contacts, or writes
    its file anew where that is damaged. ``again``: what to type to say so.

    Raises:
        UsageError: the folder is on another network, and ``force`` was not said.
        StateError: a file cannot be read or moved.
    """
    try:
        now = load_network(paths)
    except UsageError:
        return _mended(paths, me, network)
    if now is not None and now.id == network.id:
        return _entered_again(paths, now, network)
    if owner_of(paths.self_db) == Owner(me, network.id):  # its network.toml was lost, and another one is in its place
        save_network(paths, network)
        return Entered(network)
    left = None
    if now is not None and (losses := tuple(_losses(paths, me, now))):
        if not force:
            raise UsageError(
                f"this node is on the network {now.name!r} already, and leaving it leaves behind: {', '.join(losses)}",
                hint=f"{again}; it moves the old files aside within the state folder, and deletes none. Or keep both, "
                "and give the other network another --state-dir",
            )
        left = _move_aside(paths, now)
    save_network(paths, network)
    return Entered(network, left)


def _mended(paths: Paths, me: PeerId, network: Network) -> Entered:
    """The file that names the network is damaged: what the account says decides whether this is the one."""
    found, wanted = owner_of(paths.self_db), Owner(me, network.id)
    if found is not None and found != wanted:
        raise UsageError(
            f"{paths.network} is damaged, and this is no invite to its network: {paths.self_db} is of {found.network}",
            hint="another node of that network prints one: `network invite`",
        )
    try:
        os.replace(paths.network, paths.network.with_name(paths.network.name + ".damaged"))
    except OSError as error:
        raise cannot_move(error) from error
    save_network(paths, network)
    return Entered(network)


def read_invite(text: str) -> Network:
    """The network of an invite, of a file that holds one, or of a copy of another node's network.toml.

    Raises:
        UsageError: it is none of them.
        StateError: the file holds a pre-shared key and others can read it.
    """
    if text.strip().startswith(PREFIX):
        return parse_invite(text)
    place = Path(text).expanduser()
    if len(text) > 4096 or "\0" in text or not place.is_file():
        return parse_invite(text) if text.startswith("swarmd") else _no_invite(text)
    with place.open("rb") as file:
        head = file.read(MAX_INVITE_CHARS + 2)
    if head.lstrip().startswith(b"swarmd"):
        return parse_invite(head.decode("ascii", "replace"))
    found = read_toml(place)
    return network_of(found) if found is not None else _no_invite(text)


def _no_invite(text: str) -> Network:
    raise UsageError(
        f"{text[:80]!r} is neither an invite nor a file that is there",
        hint=f"an invite begins with {PREFIX}; on the other node: swarmd network invite",
    )


def _entered_again(paths: Paths, now: Network, network: Network) -> Entered:
    if now.psk != network.psk:
        raise UsageError(
            f"this node is on the network {now.name!r} with another pre-shared key",
            hint=f"if the key was changed, write the new one into {paths.network}",
        )
    found = with_contacts(now, network.contacts)
    if found.contacts != now.contacts:
        save_network(paths, found)
    return Entered(found)


def _losses(paths: Paths, me: PeerId, now: Network) -> Iterator[str]:
    """What is left behind with a network, in words; nothing for the main one without history."""
    if now.id != MAIN.id:
        yield "its place there"
    if amount := now.genesis.granted(me):
        yield f"the {format_credits(amount)} credits that its genesis gave this node, or what is left of them"
    if now.genesis.operator == me:
        yield "the operator's right to change the committee"
    if any(member.peer == me for member in now.genesis.committee):
        yield "its vote in the committee"
    if _has_rows(paths.self_db):
        yield "the history of its account (self.db)"
    if _has_rows(paths.jobs_db):
        yield "what its jobs earned and cost (jobs.db)"


def _has_rows(place: Path) -> bool:
    """Whether a database holds anything; one that cannot be read counts as if it did."""
    if not place.exists():
        return False
    try:
        with closing(sqlite3.connect(f"{place.absolute().as_uri()}?mode=ro", uri=True, timeout=5.0)) as base:
            tables = base.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
            return any(base.execute(f'SELECT 1 FROM "{name}" LIMIT 1').fetchone() for (name,) in tables.fetchall())
    except sqlite3.Error:
        return True


def _move_aside(paths: Paths, now: Network) -> Path:
    """The databases first: whatever ends us in between, the folder never shows one network's account to another."""
    try:
        folder = new_folder(paths.state_dir / f"left-{now.name}-{now.id[:8]}")
        (folder / paths.network.name).touch(mode=0o600)
        (folder / paths.network.name).write_text(as_toml(now), encoding="utf-8")
        move_into(folder, (paths.self_db, paths.ledger_db, paths.jobs_db))
    except OSError as error:
        raise cannot_move(error) from error
    return folder
