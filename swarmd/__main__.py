"""Boot: flags, then settings, then the node. Heavy imports come only once the settings are in order."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import shlex
import sqlite3
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

from swarmd.config import load
from swarmd.log import configure_log
from swarmd.paths import Paths, find_paths
from swarmd.protocols.errors import StateError, SwarmdError

if TYPE_CHECKING:
    from pathlib import Path

    from swarmd.sqlitefile import Schema

# Flag, setting, and what argparse should know of it.
_FLAGS: tuple[tuple[str, str, dict[str, object]], ...] = (
    ("--listen", "listen", {"action": "append", "metavar": "MULTIADDR"}),
    ("--tensor-host", "tensor_host", {"metavar": "IP"}),
    ("--tensor-port", "tensor_port", {"type": int, "metavar": "PORT"}),
    ("--bootstrap", "bootstrap", {"action": "append", "metavar": "MULTIADDR"}),
    ("--no-mdns", "mdns", {"action": "store_const", "const": False}),
    ("--name", "name", {}),
    ("--device", "device", {}),
    ("--threads", "threads", {"type": int}),
    ("--memory", "memory_limit", {"metavar": "SIZE"}),
    ("--price", "price", {"type": int}),
    ("--accept", "accept", {"metavar": "self|list|network"}),
    ("--allow", "allow", {"action": "append", "metavar": "PEER"}),
    ("--max-stages", "max_stages", {"type": int}),
    ("--metrics", "metrics", {"metavar": "HOST:PORT|off"}),
    ("--log-level", "log_level", {}),
)
_INTERRUPTED = 130


def main(arguments: list[str]) -> int:
    """Run a node until it is told to stop. Gives the exit code. With log level debug a failure shows its traceback."""
    chosen = _parser().parse_args(arguments)
    paths = find_paths(chosen.state_dir, os.environ)
    try:
        return _check(paths) if chosen.check else _run(chosen, paths)
    except (Exception, BaseExceptionGroup, KeyboardInterrupt) as error:  # noqa: BLE001 - the edge of the process
        if logging.getLogger("swarmd").level == logging.DEBUG:
            traceback.print_exception(error)
        return _tell(error, paths)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="swarmd up", description="Join the swarm and offer this device.")
    parser.add_argument("--state-dir", metavar="DIR")
    parser.add_argument("--json", action="store_true", help="say the addresses as one JSON line")
    for flag, setting, options in _FLAGS:
        parser.add_argument(flag, dest=setting, default=None, **options)  # type: ignore[arg-type]
    parser.add_argument("--check", action="store_true", help="start nothing; say as JSON which files forbid a start")
    parser.add_argument("--fault", default="", help=argparse.SUPPRESS)
    return parser


def _run(chosen: argparse.Namespace, paths: Paths) -> int:
    flags = {setting: getattr(chosen, setting) for _, setting, _ in _FLAGS}
    config, origins = load(paths.state_dir, flags, os.environ)
    configure_log(config.log_level)

    import trio

    from swarmd.daemon import run_node
    from swarmd.node import Boot

    was_ready = False

    def ready(addresses: tuple[str, ...]) -> None:
        nonlocal was_ready
        was_ready = True
        if chosen.json:
            print(json.dumps({"pid": os.getpid(), "addresses": addresses}), flush=True)
        else:
            _greet(addresses, paths)

    trio.run(run_node, Boot(config=config, origins=origins, paths=paths, ready=ready, fault=chosen.fault))
    if was_ready and not chosen.json:
        print("swarmd has left the swarm in order", flush=True)
    return 0


def _greet(addresses: tuple[str, ...], paths: Paths) -> None:
    from swarmd.network import MAIN, load_or_create_network

    command, network = _command(paths), load_or_create_network(paths)
    print(f"swarmd is ready; its state is in {paths.state_dir}")
    for address in addresses:
        print(f"  reach it with: swarmd up --bootstrap {address}")
    if network.id != MAIN.id:
        print(f"  it is on the network {network.name}; invite others with: {command} network invite")
    print(f"next: {command} status, {command} train JOB.toml; ctrl-C leaves the swarm in order", flush=True)


def _command(paths: Paths) -> str:
    """What begins a command to this node."""
    usual = find_paths(None, os.environ).state_dir
    return "swarmd" if paths.state_dir == usual else f"swarmd --state-dir {shlex.quote(str(paths.state_dir))}"


def _tell(error: BaseException, paths: Paths) -> int:
    """Say in two lines what ended the node; a fault of our own leaves its traceback in the log."""
    leaves = tuple(_leaves(error))
    if any(isinstance(leaf, KeyboardInterrupt) for leaf in leaves):
        return _INTERRUPTED
    if all(isinstance(leaf, SwarmdError | OSError) for leaf in leaves):
        known = next((leaf for leaf in leaves if isinstance(leaf, SwarmdError)), None) or _of_system(leaves[0])
        return _say(known, paths)
    fault = next(leaf for leaf in leaves if not isinstance(leaf, SwarmdError | OSError))
    with suppress(OSError), os.fdopen(os.open(paths.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), "a") as log:
        traceback.print_exception(error, file=log)
    words = f"a fault in swarmd itself: {type(fault).__name__}: {fault}"
    return _say(SwarmdError(words, hint=f"report what {paths.log} ends with; --log-level debug shows it here"), paths)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for each in error.exceptions:
            yield from _leaves(each)
    else:
        yield error


def _of_system(error: BaseException) -> StateError:
    place = getattr(error, "filename", None)
    words = getattr(error, "strerror", None) or str(error)
    return StateError(f"{place}: {words}" if place else words, hint="swarmd doctor checks this machine")


def _say(error: SwarmdError, paths: Paths) -> int:
    hint = re.sub(r"\bswarmd (?=(down|status|doctor|key|network)\b)", lambda _: f"{_command(paths)} ", error.hint)
    print(f"swarmd: {error.message}" + (f"\n  next: {hint}" if hint else ""), file=sys.stderr, flush=True)
    return error.exit_code


def _check(paths: Paths) -> int:
    """Read the files that a start reads, change none, and print {NAME: error or null} for each that is there."""
    from swarmd.identity import load_identity
    from swarmd.network import load_or_create_network

    checks: dict[str, tuple[os.PathLike[str], Callable[[Paths], object]]] = {
        "key": (paths.key, load_identity),
        "network": (paths.network, load_or_create_network),
        "database": (paths.database, _check_database),
        "account": (paths.self_db, _check_account),
    }
    found = {name: _problem(check, paths) for name, (file, check) in checks.items() if os.path.lexists(file)}
    print(json.dumps(found))
    return 0


def _problem(check: Callable[[Paths], object], paths: Paths) -> dict[str, str] | None:
    try:
        check(paths)
    except SwarmdError as error:
        return {"message": error.message, "hint": error.hint}
    except OSError as error:
        known = _of_system(error)
        return {"message": known.message, "hint": known.hint}
    return None


def _check_database(paths: Paths) -> None:
    from swarmd.schema import NODE_SCHEMA

    _check_whole(paths.database, NODE_SCHEMA)


def _check_account(paths: Paths) -> None:
    from swarmd.identity import load_identity
    from swarmd.ledger.ownership import Owner, mismatch, owner_of
    from swarmd.ledger.schemas import SELF_SCHEMA
    from swarmd.network import load_network

    _check_whole(paths.self_db, SELF_SCHEMA)
    found = owner_of(paths.self_db)
    if found is None or not paths.key.exists():
        return
    network = load_network(paths)
    ours = Owner(load_identity(paths).peer, network.id if network else found.network)
    if found != ours:
        raise mismatch(paths.self_db, found, ours)


def _check_whole(place: Path, schema: Schema) -> None:
    from swarmd.sqlitefile import explained

    # Without a log beside it nobody has the file open, and "immutable" keeps SQLite from making one.
    log = place.with_name(f"{place.name}-wal")
    how = "mode=ro" if log.exists() else "immutable=1"
    with explained(place, schema.cure):
        connection = sqlite3.connect(f"{place.absolute().as_uri()}?{how}", uri=True, timeout=5.0)
        try:
            whole = connection.execute("PRAGMA integrity_check(1)").fetchone() == ("ok",)
            owner = connection.execute("PRAGMA application_id").fetchone()[0]
        finally:
            connection.close()
    empty = os.stat(place).st_size == 0
    if not whole or not (empty or owner == schema.application_id):
        raise StateError(f"{place} is damaged, or is not swarmd's", hint=schema.cure)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
