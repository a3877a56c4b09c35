"""What can be done to a node's folder without its daemon: its key, its network, a backup of both.

``python -m swarmd.offline --state-dir DIR`` reads one request from standard input, ``{"method", "params"}``, and
answers with one line, ``{"result": {...}}`` or ``{"error": {"code", "message", "hint"}}``. Invites and
passphrases come this way, and never stand on a command line, which other users of the machine can read.

    key_show         -                                   {"peer"}
    key_make         -                                   {"peer"}; the key is made if there is none
    key_backup       file, passphrase, contacts          {"peer", "file", "account"}; works beside a running daemon
    key_restore      file, passphrase, force             {"peer", "network", "name", "account", "created", "left"}
    network_show     -                                   the fields of ``_shown``
    network_init     name, supply, grants, members,      the same, and "left": where the files of the network before
                     cooldown, grace, open, force,       it went; all but the name may be left out. "again" is
                     again                               the command that a refusal tells to type, with --force
    network_join     invite (or a file's path), force,   the same
                     again
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from swarmd.founding import USUAL_SUPPLY, Plan, found_network, parse_grant, parse_peer
from swarmd.identity import load_identity
from swarmd.joining import Entered, enter_network, read_invite
from swarmd.key_backup import back_up, restore
from swarmd.network import MAIN, Network, load_network
from swarmd.paths import Paths
from swarmd.protocols.addresses import parse_contact
from swarmd.protocols.errors import StateError, SwarmdError, UsageError
from swarmd.protocols.ids import PeerId
from swarmd.protocols.ledger.amounts import parse_credits
from swarmd.protocols.ledger.genesis import Limits
from swarmd.state_lock import lock_folder, lock_state, undone_on_failure

T = TypeVar("T")
Answer = dict[str, Any]
MAX_REQUEST_BYTES = 1 << 20


def main(arguments: list[str]) -> int:
    """Answer one request. Gives the exit code."""
    parser = argparse.ArgumentParser(prog="python -m swarmd.offline", description=main.__doc__)
    parser.add_argument("--state-dir", type=Path, required=True)
    paths = Paths(parser.parse_args(arguments).state_dir)
    try:
        print(json.dumps({"result": answer(paths, sys.stdin.buffer.read(MAX_REQUEST_BYTES + 1))}))
    except SwarmdError as error:
        return _fail(error)
    except OSError as error:
        return _fail(StateError(f"{error.filename}: {error.strerror}", hint="swarmd doctor checks this machine"))
    return 0


def answer(paths: Paths, raw: bytes) -> Answer:
    """The answer to one request. Raises SwarmdError."""
    try:
        request = json.loads(raw) if len(raw) <= MAX_REQUEST_BYTES else None
    except ValueError:
        request = None
    if not isinstance(request, dict) or not isinstance(request.get("params"), dict):
        raise UsageError("the request is not of this kind", hint="use the swarmd command")
    method = _METHODS.get(str(request.get("method")))
    if method is None:
        raise UsageError("there is no such method", hint="use the swarmd command of the same installation")
    return method(paths, request["params"])


def _key_show(paths: Paths, params: Answer) -> Answer:
    return {"peer": load_identity(paths).peer}


def _key_make(paths: Paths, params: Answer) -> Answer:
    with lock_state(paths):
        return {"peer": load_identity(paths).peer}


def _key_backup(paths: Paths, params: Answer) -> Answer:
    file = Path(_given(params, "file", str, ""))
    contacts = tuple(_texts(params, "contacts"))
    for each in contacts:
        parse_contact(each)
    made = back_up(paths, file, _given(params, "passphrase", str, ""), int(time.time()), contacts=contacts)
    return {"peer": made.peer, "file": str(file), "account": bool(made.account)}


def _key_restore(paths: Paths, params: Answer) -> Answer:
    with lock_folder(paths):
        file, passphrase = Path(_given(params, "file", str, "")), _given(params, "passphrase", str, "")
        force, newest = _given(params, "force", bool, False), _given(params, "newest", bool, False)
        restored = restore(paths, file, passphrase, force=force, newest=newest)
    found = restored.backup
    network = load_network(paths) or MAIN
    return {
        "peer": found.peer,
        "network": network.id,
        "name": network.name,
        "account": bool(found.account),
        "created": found.created,
        "left": None if restored.left is None else str(restored.left),
    }


def _network_show(paths: Paths, params: Answer) -> Answer:
    return _shown(load_network(paths) or MAIN)


def _network_init(paths: Paths, params: Answer) -> Answer:
    plan = _plan(params)
    with undone_on_failure(paths), lock_state(paths):
        return _enter(paths, params, lambda me: found_network(me, plan))


def _network_join(paths: Paths, params: Answer) -> Answer:
    network = read_invite(_given(params, "invite", str, ""))
    with undone_on_failure(paths), lock_state(paths):
        return _enter(paths, params, lambda _: network)


def _enter(paths: Paths, params: Answer, network: Callable[[PeerId], Network]) -> Answer:
    me, force = load_identity(paths).peer, _given(params, "force", bool, False)
    again = _given(params, "again", str, "give --force")
    return _entered(enter_network(paths, me, network(me), force=force, again=again))


def _plan(params: Answer) -> Plan:
    supply = _given(params, "supply", str, "")
    usual = Limits()
    try:
        limits = Limits(
            cooldown_seconds=_given(params, "cooldown", int, usual.cooldown_seconds),
            grace_seconds=_given(params, "grace", int, usual.grace_seconds),
        )
    except ValueError as error:
        raise UsageError(f"such limits cannot be: {error}", hint="swarmd network init --help") from error
    return Plan(
        name=_given(params, "name", str, ""),
        supply=parse_credits(supply) if supply else USUAL_SUPPLY,
        grants=tuple(parse_grant(text) for text in _texts(params, "grants")),
        members=tuple(parse_peer(text) for text in _texts(params, "members")),
        limits=limits,
        open=_given(params, "open", bool, False),
    )


def _entered(entered: Entered) -> Answer:
    return {**_shown(entered.network), "left": None if entered.left is None else str(entered.left)}


def _shown(network: Network) -> Answer:
    """A network without its secret. Amounts in micro-credits, times in seconds."""
    genesis, limits = network.genesis, network.genesis.limits
    return {
        "name": network.name,
        "network": network.id,
        "private": network.psk is not None,
        "credits": bool(genesis.committee),
        "supply": genesis.supply,
        "grants": [[grant.account, grant.amount] for grant in genesis.grants],
        "operator": genesis.operator,
        "committee": [[member.peer, member.weight] for member in genesis.committee],
        "cooldown": limits.cooldown_seconds,
        "grace": limits.grace_seconds,
        "contacts": list(network.contacts),
    }


def _given(params: Answer, name: str, kind: type[T], default: T) -> T:
    value = params.get(name)
    if value is None:
        return default
    if type(value) is not kind:
        raise UsageError(f"the parameter {name!r} must be a {kind.__name__}", hint="use the swarmd command")
    return value


def _texts(params: Answer, name: str) -> list[str]:
    found = _given(params, name, list, [])
    if not all(isinstance(each, str) for each in found):
        raise UsageError(f"the parameter {name!r} must be a list of texts", hint="use the swarmd command")
    return found


def _fail(error: SwarmdError) -> int:
    print(json.dumps({"error": {"code": error.code, "message": error.message, "hint": error.hint}}))
    return error.exit_code


_METHODS: dict[str, Callable[[Paths, Answer], Answer]] = {
    "key_show": _key_show,
    "key_make": _key_make,
    "key_backup": _key_backup,
    "key_restore": _key_restore,
    "network_show": _network_show,
    "network_init": _network_init,
    "network_join": _network_join,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
