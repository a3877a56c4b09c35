"""Credits among real daemons: killed, stopped and restarted, they lose no payment, make no credit, and agree."""

from __future__ import annotations

import random
import shutil
import signal
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from swarmd.cli.client import call, stream
from swarmd.identity import load_or_create_identity
from swarmd.network import Network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import SwarmdError
from swarmd.protocols.ledger.amounts import MICRO
from swarmd.protocols.ledger.genesis import Genesis, Grant, Limits, Member
from tests.e2e.daemons import Daemon, daemons, until
from tests.train.specs import small_job

pytestmark = [pytest.mark.slow, pytest.mark.net]

GRANT = 1000 * MICRO
LIMITS = Limits(entry_seconds=0, grace_seconds=10, cooldown_seconds=5)
Start = Callable[..., Daemon]


def one_network(folder: Path, names: list[str], members: int) -> Genesis:
    """State folders with keys, all on one network: the first few vote, everybody is granted the same."""
    paths = [Paths(folder / name, folder) for name in names]
    for each in paths:
        each.state_dir.mkdir(mode=0o700)
    peers = [load_or_create_identity(each).peer for each in paths]
    genesis = Genesis(
        name="e2e",
        salt=b"e2e",
        operator=peers[0],
        grants=tuple(Grant(peer, GRANT) for peer in sorted(peers)),
        committee=tuple(Member(peer, 1) for peer in sorted(peers[:members])),
        limits=LIMITS,
    )
    for each in paths:
        save_network(each, Network(genesis, None))
    return genesis


@dataclass
class Swarm:
    """Daemons by name; a killed one comes back under its name and finds the others by their addresses."""

    start: Start
    running: dict[str, Daemon] = field(default_factory=dict)

    def up(self, name: str, *flags: str) -> Daemon:
        others = [address for each in self.running.values() for address in each.addresses[:1]]
        where = [part for address in others[:3] for part in ("--bootstrap", address)]
        self.running[name] = self.start(name, "--accept", "network", *where, *flags)
        return self.running[name]

    def kill(self, name: str) -> None:
        self.running.pop(name).kill()

    def settled(self, supply: int, seconds: float = 60.0) -> dict[str, Any]:
        """Wait until all know the same, and nothing is pending or unclaimed; gives the wallets by name."""

        def calm() -> dict[str, Any] | None:
            ledgers = [each.ask("ledger") for each in self.running.values()]
            wallets = {name: each.ask("wallet") for name, each in self.running.items()}
            same = len({ledger["root"] for ledger in ledgers}) == 1
            idle = all(not w["pending"] and not w["waiting"] and not w["pending_in"] for w in wallets.values())
            return wallets if same and idle else None

        wallets = until(calm, seconds)
        for daemon in self.running.values():
            ledger = daemon.ask("ledger")
            assert ledger["supply"]["total"] == ledger["supply"]["granted"] == supply
            assert ledger["proofs"] == []
        assert all(wallet["balance"] >= 0 and not wallet["frozen"] for wallet in wallets.values())
        return wallets


class Spender:
    """Pays, stakes and unstakes through one node's control socket, and notes what was called final."""

    def __init__(self, paths: Paths, payees: list[str], seed: int) -> None:
        self._paths, self._payees, self._chance = paths, payees, random.Random(seed)
        self.final: list[str] = []
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self._spend)
        self.thread.start()

    def _spend(self) -> None:
        while not self.ended.is_set():
            kind = self._chance.choice(("pay", "pay", "pay", "pay", "stake", "unstake"))
            amount = self._chance.randrange(1, 5 * MICRO)
            to = {"peer": self._chance.choice(self._payees)} if kind == "pay" else {}
            with suppress(SwarmdError, OSError, KeyError):  # killed just now, or nothing is staked
                for view in stream(self._paths, kind, idle=10.0, amount=amount, **to):
                    if view["state"] == "final":
                        self.final.append(view["entry"])
            self.ended.wait(0.01)

    def end(self) -> None:
        self.ended.set()
        self.thread.join(30)


def entries(daemon: Daemon) -> list[str]:
    """The ids of an account's own entries, all of them."""
    found: list[str] = []
    before: int | None = None
    while lines := daemon.ask("history", limit=200, **({"before": before} if before else {}))["lines"]:
        found += [line["entry"] for line in lines]
        before = lines[-1]["seq"]
        if before == 1:
            break
    return found


def test_seven_daemons_that_are_killed_and_restarted_keep_equal_books(tmp_path: Path) -> None:
    names = [f"node-{number}" for number in range(1, 8)]
    genesis = one_network(tmp_path, names, 7)
    chance = random.Random(7)
    with daemons(tmp_path) as start:
        swarm = Swarm(start)
        for name in names:
            swarm.up(name)
        peers = {name: daemon.peer for name, daemon in swarm.running.items()}
        until(lambda: all(len(each.ask("peers")["peers"]) == 6 for each in swarm.running.values()), 30)
        spenders = {
            name: Spender(Paths(tmp_path / name, tmp_path), [peers[other] for other in names if other != name], seed)
            for seed, name in enumerate(names)
        }
        try:
            for _ in range(5):
                threading.Event().wait(chance.uniform(0.5, 1.5))
                gone = chance.sample(names, 2)
                for name in gone:
                    swarm.kill(name)
                threading.Event().wait(chance.uniform(0.2, 1.0))
                for name in gone:
                    swarm.up(name)
        finally:
            for spender in spenders.values():
                spender.end()
        swarm.settled(genesis.supply, 90)
        assert sum(len(spender.final) for spender in spenders.values()) >= 50
        for name, spender in spenders.items():
            kept = entries(swarm.running[name])
            assert len(kept) == len(set(kept))
            assert set(spender.final) <= set(kept)


def test_a_payment_waits_for_a_committee_that_is_half_away_and_says_so(tmp_path: Path) -> None:
    genesis = one_network(tmp_path, ["one", "two", "three", "four"], 4)
    with daemons(tmp_path) as start:
        swarm = Swarm(start)
        one, two, three, four = (swarm.up(name) for name in ("one", "two", "three", "four"))
        until(lambda: len(one.ask("peers")["peers"]) == 3)
        assert list(stream(one.paths, "pay", idle=20.0, peer=two.peer, amount=MICRO))[-1]["state"] == "final"
        for daemon in (three, four):
            daemon.process.send_signal(signal.SIGSTOP)
        call(one.paths, "pay", wait=10.0, peer=two.peer, amount=MICRO)  # the first words of the stream
        pending = until(lambda: one.ask("wallet")["pending"], 20)
        assert pending["weight"] < pending["quorum"] == 3
        until(lambda: "of 4 committee members answer" in ((one.ask("wallet")["pending"] or {}).get("why", "")), 40)
        for daemon in (three, four):
            daemon.process.send_signal(signal.SIGCONT)
        wallets = swarm.settled(genesis.supply, 90)
        assert wallets["two"]["balance"] == GRANT + 2 * MICRO


def test_a_stage_killed_midway_is_paid_for_what_it_delivered(tmp_path: Path) -> None:
    genesis = one_network(tmp_path, ["one", "two"], 1)
    with daemons(tmp_path) as start:
        swarm = Swarm(start)
        payer = swarm.up("one")
        swarm.up("two", "--price", "1000000")
        until(lambda: [peer for peer in payer.ask("peers")["peers"] if peer["device"]["flops"]])
        until(lambda: payer.ask("status")["device"])
        job = small_job(tmp_path, steps=20_000)
        job.write_text(job.read_text() + "[run]\nmin_stages = 2\n[budget]\nmax_credits = 900\npay_every = 4\n")
        run = payer.ask("submit", path=str(job))["run"]
        until(lambda: (payer.ask("job", run=run)["spending"] or {}).get("spent"), 60)
        swarm.kill("two")
        until(lambda: payer.ask("job", run=run)["state"] == "failed", 30)
        swarm.up("two", "--price", "1000000")
        invoice = until(lambda: (seen := payer.ask("invoice", run=run))["balanced"] and not seen["locked"] and seen, 60)
        assert 0 < invoice["invoiced"] == invoice["receipted"] == invoice["paid"]
        wallets = swarm.settled(genesis.supply)
        assert wallets["two"]["balance"] == GRANT + invoice["paid"]
        assert wallets["one"]["balance"] == GRANT - invoice["paid"]


def test_an_account_restored_from_an_older_copy_signs_nothing_that_contradicts(tmp_path: Path) -> None:
    genesis = one_network(tmp_path, ["one", "two"], 1)
    with daemons(tmp_path) as start:
        swarm = Swarm(start)
        one, two = swarm.up("one"), swarm.up("two")
        until(lambda: len(two.ask("peers")["peers"]) == 1)
        pay = {"peer": one.peer, "amount": MICRO}
        assert list(stream(two.paths, "pay", idle=20.0, **pay))[-1]["state"] == "final"
        two.kill(signal.SIGTERM)
        shutil.copytree(tmp_path / "two", tmp_path / "older", ignore=shutil.ignore_patterns("control.sock", "log"))
        two = swarm.up("two")
        until(lambda: len(two.ask("peers")["peers"]) == 1)
        assert list(stream(two.paths, "pay", idle=20.0, **pay))[-1]["state"] == "final"
        two.kill(signal.SIGTERM)
        shutil.rmtree(tmp_path / "two")
        (tmp_path / "older").rename(tmp_path / "two")
        two = swarm.up("two")
        assert list(stream(two.paths, "pay", idle=30.0, **pay))[-1]["state"] == "final"
        wallets = swarm.settled(genesis.supply)
        assert wallets["two"]["balance"] == GRANT - 3 * MICRO
