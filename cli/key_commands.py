"""``key``: who this node is, and taking that to another machine."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from swarmd.cli.output import emit, line, words
from swarmd.cli.session import Session, session_of
from swarmd.protocols.errors import SwarmdError, UsageError

Json = Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")]
File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
Passphrase = Annotated[
    Path | None, typer.Option("--passphrase-file", metavar="FILE", help="Read the passphrase there; else it is asked.")
]
_MAX_FILE_BYTES = 4096
_MAX_CONTACTS = 8

key = typer.Typer(name="key", no_args_is_help=True, help="This node's key, and backups of it.")


def add_to(app: typer.Typer) -> None:
    """Hang these commands into the tree."""
    app.add_typer(key, rich_help_panel="The node")


@key.command()
def show(ctx: typer.Context, json: Json = False) -> None:
    """The peer id, which holds the public key. The private one is never shown."""
    from swarmd.cli.offline import ask_folder

    found = ask_folder(session_of(ctx).paths, "key_show")
    if json:
        return emit(found)
    line(found["peer"])


@key.command()
def backup(ctx: typer.Context, file: File, passphrase_file: Passphrase = None, json: Json = False) -> None:
    """Write key, network and account history into one encrypted file."""
    from swarmd.cli.offline import ask_folder

    passphrase = _passphrase(passphrase_file, twice=True)
    session = session_of(ctx)
    made = ask_folder(
        session.paths,
        "key_backup",
        file=str(file.absolute()),
        passphrase=passphrase,
        contacts=_contacts(session),
    )
    if json:
        return emit(made)
    line(made["file"])
    words("whoever has this file and its passphrase is this node: keep them apart")


@key.command()
def restore(
    ctx: typer.Context,
    file: File,
    passphrase_file: Passphrase = None,
    force: Annotated[
        bool, typer.Option("--force", help="Move a node's files that are there aside first; none is deleted.")
    ] = False,
    newest: Annotated[
        bool, typer.Option("--newest", help="Nothing was signed after this backup was made: go on without asking.")
    ] = False,
    json: Json = False,
) -> None:
    """Make this folder the node that a backup holds."""
    from swarmd.cli.offline import ask_folder

    passphrase = _passphrase(passphrase_file, twice=False)
    paths = session_of(ctx).paths
    place = str(file.absolute())
    found = ask_folder(paths, "key_restore", file=place, passphrase=passphrase, force=force, newest=newest)
    if json:
        return emit(found)
    line(found["peer"])
    if found.get("left"):
        words(f"the files that were there are in {found['left']}")
    if not newest:
        words("the daemon will ask the network for this account's newest entry before it signs anything")
    words("see to it that this node runs nowhere else\n  next: swarmd up; if it finds no peer: swarmd up --join INVITE")


def _contacts(session: Session) -> list[str]:
    """Where to find peers again, for a backup; the daemon knows some if it runs."""
    try:
        peers = session.ask("peers", wait=5.0)["peers"]
    except SwarmdError:
        return []
    return [f"{peer['addresses'][0]}/p2p/{peer['peer']}" for peer in peers if peer["addresses"]][:_MAX_CONTACTS]


def _passphrase(file: Path | None, *, twice: bool) -> str:
    if file is not None:
        return _read(file)
    if not sys.stdin.isatty():
        raise UsageError("there is no terminal to ask for the passphrase", hint="give it with --passphrase-file FILE")
    return str(typer.prompt("passphrase", hide_input=True, confirmation_prompt=twice, err=True))


def _read(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            raw = opened.read(_MAX_FILE_BYTES + 1)
        return raw.decode().rstrip("\r\n") if len(raw) <= _MAX_FILE_BYTES else _too_long(file)
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", hint="name the passphrase's file") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{file} is not a text", hint="a passphrase is one line of text") from error


def _too_long(file: Path) -> str:
    raise UsageError(f"{file} is over {_MAX_FILE_BYTES} bytes", hint="a passphrase is one line of text")
