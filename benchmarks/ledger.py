"""What the ledger carries: ``python benchmarks/ledger.py [--accounts N] [--json]``.

Three parts, in one run. *Core*: certified entries that a replica checks and applies in a second of one core's time,
beside bare signature checks on the same core, with 4 and with 16 members. *Disk*: bytes of ``ledger.db`` per account
after one entry each and after ten. *Join*: a daemon that knows N accounts, and a fresh one on loopback that asks it for
them; seconds until both have the same heads root.
"""

from __future__ import annotations

import argparse
import json
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trio
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from swarmd.cli.client import call
from swarmd.identity import Identity, load_or_create_identity
from swarmd.ledger.ledgerdb import LedgerStore, serve_ledger_store
from swarmd.network import Network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import SwarmdError
from swarmd.protocols.ids import PeerId, peer_id_of
from swarmd.protocols.ledger.account import AccountState, born
from swarmd.protocols.ledger.apply import next_entry
from swarmd.protocols.ledger.entry import FIRST_PREV, Claim, SignedEntry, sign_entry
from swarmd.protocols.ledger.genesis import Genesis, Grant, Member
from swarmd.protocols.ledger.heads import Head, make_head
from swarmd.protocols.ledger.replica import Replica
from swarmd.protocols.ledger.votes import EntryVote, certificate_of, sign_vote
from swarmd.protocols.signing import Sign

SUPPLY = 10**12
CORE_ENTRIES = 600
DISK_ACCOUNTS = 500
JOIN_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Key:
    """An account's owner, or a member."""

    peer: PeerId
    sign: Sign


def new_key() -> Key:
    """A fresh one."""
    private = Ed25519PrivateKey.generate()
    return Key(peer_id_of(private.public_key().public_bytes_raw()), private.sign)


class Bank:
    """A network whose members' keys are all here, so that it certifies whatever it likes."""

    def __init__(self, members: tuple[Key, ...], payer: Key) -> None:
        self.members, self.payer = members, payer
        weights = tuple(sorted((Member(key.peer, 1) for key in members), key=lambda member: member.peer))
        self.genesis = Genesis(
            name="bench", salt=secrets.token_bytes(16), operator=payer.peer,
            grants=(Grant(payer.peer, SUPPLY),), committee=weights,
        )  # fmt: skip
        self.quorum = 2 * len(members) // 3 + 1

    def certify(self, signed: SignedEntry, state: AccountState) -> Head:
        """A head with a quorum's votes."""
        vote = EntryVote(0, signed.entry.account, signed.entry.seq, signed.id)
        voters = self.members[: self.quorum]
        return make_head(
            signed, state, certificate_of(tuple(sign_vote(vote, self.genesis.id, key.peer, key.sign) for key in voters))
        )

    def chain(self, owner: Key, length: int) -> Iterator[Head]:
        """An account's first entries: one claim, then claims of a little more."""
        state, prev = born(self.genesis, owner.peer), FIRST_PREV
        for seq in range(1, length + 1):
            entry, state = next_entry(owner.peer, seq, prev, state, (Claim(self.payer.peer, seq),), time.time())
            signed = sign_entry(entry, self.genesis.id, owner.sign)
            prev = signed.id
            yield self.certify(signed, state)

    def spread(self, owners: list[Key]) -> list[Head]:
        """One certified entry of each owner."""
        return [next(self.chain(owner, 1)) for owner in owners]


def core(members: int) -> dict[str, float]:
    """Heads checked and applied per second of CPU time, and bare signature checks beside them."""
    bank = Bank(tuple(new_key() for _ in range(members)), new_key())
    heads = bank.spread([new_key() for _ in range(CORE_ENTRIES)])
    replica = Replica(bank.genesis)
    began = time.process_time()
    for head in heads:
        replica.offer_head(head.raw)
    applied = CORE_ENTRIES / (time.process_time() - began)
    bare = signature_checks()
    return {
        "entries_per_s": round(applied),
        "signatures_per_s": round(bare),
        "share_of_signature_bound": round(applied * (bank.quorum + 1) / bare, 3),
    }


def signature_checks() -> float:
    """Ed25519 checks per second of CPU time."""
    key = Ed25519PrivateKey.generate()
    public, message = key.public_key(), secrets.token_bytes(300)
    signature = key.sign(message)
    began = time.process_time()
    for _ in range(2000):
        public.verify(signature, message)
    return 2000 / (time.process_time() - began)


async def disk(folder: Path) -> dict[str, float]:
    """Bytes per account after one entry each, and after ten."""
    bank = Bank(tuple(new_key() for _ in range(4)), new_key())
    owners = [new_key() for _ in range(DISK_ACCOUNTS)]
    chains = [list(bank.chain(owner, 10)) for owner in owners]
    found: dict[str, float] = {}
    for entries, at in ((1, range(1)), (10, range(1, 10))):
        rounds = [[(chain[n].signed.entry.account, n + 1, chain[n].raw) for chain in chains] for n in at]
        await save(folder / "ledger.db", rounds)
        found[f"bytes_per_account_after_{entries}"] = round((folder / "ledger.db").stat().st_size / DISK_ACCOUNTS)
    return found


async def save(path: Path, rounds: list[list[tuple[PeerId, int, bytes]]]) -> None:
    """Write heads in rounds, and close the file."""
    async with trio.open_nursery() as nursery:
        store: LedgerStore = await nursery.start(serve_ledger_store, path)
        for heads in rounds:
            await store.save_heads(tuple(heads))
        nursery.cancel_scope.cancel()


async def join(folder: Path, accounts: int) -> dict[str, float]:
    """Seconds until a fresh daemon knows what another one does."""
    paths = [Paths(folder / name) for name in ("knows", "joins")]
    for each in paths:
        each.state_dir.mkdir(parents=True, mode=0o700)
    identity: Identity = load_or_create_identity(paths[0])
    load_or_create_identity(paths[1])
    bank = Bank(tuple(new_key() for _ in range(4)), Key(identity.peer, identity.sign))
    heads = bank.spread([new_key() for _ in range(accounts)])
    for each in paths:
        save_network(each, Network(bank.genesis, None))
    lines = [(head.signed.entry.account, 1, head.raw) for head in heads]
    await save(paths[0].ledger_db, [lines[at : at + 500] for at in range(0, accounts, 500)])
    return await trio.to_thread.run_sync(measure_join, paths, accounts)


def measure_join(paths: list[Paths], accounts: int) -> dict[str, float]:
    """Start both daemons; the second gets the first one's address."""
    with daemon(paths[0], free_port()), daemon(paths[1], port := free_port(), first_address(paths[0])):
        began = time.monotonic()
        while known_accounts(port) < accounts:
            if time.monotonic() - began > JOIN_SECONDS:
                raise SystemExit(f"the joiner does not have all accounts after {JOIN_SECONDS:.0f} s")
            time.sleep(0.1)
        took = time.monotonic() - began
        same = answer(paths[0], "ledger")["root"] == answer(paths[1], "ledger")["root"]
    return {"accounts": accounts, "seconds": round(took, 2), "same_root": same}


def known_accounts(port: int) -> int:
    """Accounts a daemon knows, by its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as page:
        lines = page.read().decode().splitlines()
    return next((int(float(line.split()[1])) for line in lines if line.startswith("swarmd_ledger_accounts ")), 0)


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def first_address(paths: Paths) -> str:
    """Where a daemon can be dialled."""
    return str(answer(paths, "status")["addresses"][0])


@contextmanager
def daemon(paths: Paths, metrics: int, bootstrap: str = "") -> Iterator[None]:
    """A daemon on loopback for the length of the block, once it answers."""
    flags = ["--listen", "/ip4/127.0.0.1/tcp/0", "--tensor-host", "127.0.0.1", "--no-mdns", "--device", "cpu"]
    flags += ["--metrics", f"127.0.0.1:{metrics}"]
    flags += ["--bootstrap", bootstrap] if bootstrap else []
    command = [sys.executable, "-P", "-m", "swarmd", "--state-dir", str(paths.state_dir), *flags]
    process = subprocess.Popen(
        [*command, *(["--bootstrap", bootstrap] if bootstrap else [])], stdout=subprocess.DEVNULL
    )
    try:
        while not answer(paths, "status"):
            if process.poll() is not None:
                raise SystemExit("a daemon did not start")
            time.sleep(0.05)
        yield
    finally:
        process.terminate()
        process.wait(20)


def answer(paths: Paths, method: str) -> dict[str, Any]:
    """The daemon's answer, or nothing while it starts."""
    try:
        return call(paths, method, wait=10.0)
    except SwarmdError:
        return {}


async def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--accounts", type=int, default=10_000)
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="swarmd-ledger-") as folder:
        found = {
            "core_4_members": core(4),
            "core_16_members": core(16),
            "disk": await disk(Path(folder)),
            "join": await join(Path(folder), chosen.accounts),
        }
    if chosen.json:
        print(json.dumps(found))
    else:
        for part, figures in found.items():
            print(f"{part:<16} " + "  ".join(f"{name} {value}" for name, value in figures.items()))


if __name__ == "__main__":
    trio.run(main)
