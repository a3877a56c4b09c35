"""Taking a node to another machine: its key, its network, and the history of its account."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from swarmd.backup_file import MAX_BACKUP_BYTES, USUAL_COST, Backup, check_passphrase, seal, unseal
from swarmd.identity import identity_of, load_identity, restore_key_file
from swarmd.invite import invite_of, parse_invite
from swarmd.ledger.backup import account_copy, restore_account
from swarmd.network import load_network, save_network, with_contacts
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, UsageError
from swarmd.set_aside import cannot_move, move_into, new_folder


@dataclass(frozen=True, slots=True)
class Restored:
    """What became of a folder."""

    backup: Backup
    left: Path | None
    """Where the files are now that were there; None if there were none."""


def back_up(
    paths: Paths,
    file: Path,
    passphrase: str,
    now: int,
    *,
    contacts: tuple[str, ...] = (),
    cost: int = USUAL_COST,
) -> Backup:
    """Write a node into a new encrypted file; works beside the running daemon. ``contacts``: where peers are now.

    Raises:
        UsageError: the file is there already, or the passphrase will not do.
        StateError: the node's files cannot be read, or the backup cannot be written.
    """
    check_passphrase(passphrase)
    _refuse_existing(file)
    identity, network = load_identity(paths), load_network(paths)
    backup = Backup(
        identity.peer,
        identity.seed,
        "" if network is None else invite_of(with_contacts(network, contacts)),
        account_copy(paths.self_db) if paths.self_db.exists() else b"",
        now,
    )
    _write_private(file, seal(backup, passphrase, cost=cost))
    return backup


def restore(paths: Paths, file: Path, passphrase: str, *, force: bool = False, newest: bool = False) -> Restored:
    """Make the folder the node of a backup; the caller holds the folder's lock. The key comes last.

    The account is marked: nothing is signed with it until peers have told its newest entry; with ``newest`` its owner
    says that the backup has it. With ``force`` the files of a node that are there are moved into a folder of their own
    first.

    Raises:
        UsageError: not a backup, or the passphrase is wrong.
        StateError: a node's files are in the folder already, or it cannot be written.
    """
    mine = (paths.self_db, paths.ledger_db, paths.jobs_db, paths.network, paths.key)
    if (there := [place.name for place in mine if os.path.lexists(place)]) and not force:
        raise StateError(
            f"{paths.state_dir} holds a node's files already: {', '.join(there)}",
            hint="restore into another --state-dir; or give --force: the files are moved aside, none is deleted",
        )
    backup = unseal(_read(file), passphrase)
    network = parse_invite(backup.network) if backup.network else None
    if len(backup.seed) != 32 or identity_of(backup.seed).peer != backup.peer:
        raise UsageError("the backup is damaged: it holds another node's key", hint="use another copy of it")
    left = _set_aside(paths, mine) if there else None
    with _undone_on_failure(paths.self_db, paths.network):
        restore_account(backup.account, paths.self_db, newest=newest)
        if network is not None:
            save_network(paths, network)
        restore_key_file(paths.key, backup.seed)
    return Restored(backup, left)


def _set_aside(paths: Paths, mine: Sequence[Path]) -> Path:
    try:
        folder = new_folder(paths.state_dir / "replaced")
        move_into(folder, mine)
    except OSError as error:
        raise cannot_move(error) from error
    return folder


def _read(place: Path) -> bytes:
    try:
        with place.open("rb") as file:
            raw = file.read(MAX_BACKUP_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read {place}: {error.strerror}", hint="name the file of the backup") from error
    if len(raw) > MAX_BACKUP_BYTES:
        raise UsageError(f"{place} is over {MAX_BACKUP_BYTES} bytes", hint="no backup is so large")
    return raw


def _write_private(place: Path, content: bytes) -> None:
    """A new file that only its owner can read, whole or not at all."""
    try:
        handle = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
        except BaseException:
            os.unlink(place)
            raise
    except FileExistsError:
        _refuse_existing(place)
        raise
    except OSError as error:
        raise StateError(f"cannot write {place}: {error.strerror}", hint="choose another place") from error


def _refuse_existing(place: Path) -> None:
    if os.path.lexists(place):
        raise UsageError(f"{place} is there already", hint="give the backup a name that is free")


@contextmanager
def _undone_on_failure(*places: Path) -> Iterator[None]:
    try:
        yield
    except BaseException:
        for place in places:
            place.unlink(missing_ok=True)
        raise
