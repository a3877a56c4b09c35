"""Daemons on a network with credits, their clients, and what must hold of their books at the end."""

from __future__ import annotations

import random
import shutil
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from swarmd.cli.client import stream
from swarmd.founding import Plan, found_network
from swarmd.identity import load_or_create_identity
from swarmd.network import save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import DaemonUnreachable, SwarmdError, UsageError
from swarmd.protocols.ledger.amounts import MICRO
from swarmd.protocols.ledger.genesis import Grant, Limits
from tests.e2e.daemons import Daemon, until

GRANT = 1000 * MICRO
LIMITS = Limits(entry_seconds=0, grace_seconds=20, cooldown_seconds=3600)
PAGE = 200


class LedgerSwarm:
    """Daemons by name, each granted GRANT; the first ``members`` vote. Strangers can come unless it is ``private``."""

    def __init__(
        self, start: Callable[..., Daemon], folder: Path, names: list[str], *, members: int, private: bool = True
    ) -> None:
        self._start, self._folder = start, folder
        self.names = names
        self.running: dict[str, Daemon] = {}
        self.flags: dict[str, tuple[str, ...]] = {}
        for name in names:
            (folder / name).mkdir(mode=0o700)
        peers = [load_or_create_identity(self.paths(name)).peer for name in names]
        self.peers = dict(zip(names, peers, strict=True))
        grants = tuple(Grant(peer, GRANT) for peer in peers)
        plan = Plan(
            name="e2e", supply=GRANT * len(names), grants=grants, members=tuple(peers[1:members]), limits=LIMITS
        )
        network = found_network(peers[0], plan)
        self.genesis = network.genesis
        for name in names:
            save_network(self.paths(name), network if private else replace(network, psk=None))

    def paths(self, name: str) -> Paths:
        return Paths(self._folder / name, self._folder)

    def start(self, *names: str) -> None:
        """Start daemons, several at once; a new one meets whoever runs, an old one finds them by what it knows."""
        first = next(iter(self.running.values()), None)
        meet = ("--bootstrap", first.addresses[0]) if first else ()
        with ThreadPoolExecutor(len(names)) as pool:
            started = pool.map(lambda name: self._start(name, *meet, *self.flags.get(name, ())), names)
            self.running |= zip(names, started, strict=True)

    def kill(self, *names: str) -> None:
        """Kill daemons, all at once."""
        gone = [self.running.pop(name) for name in names]
        with ThreadPoolExecutor(len(gone)) as pool:
            assert not any(pool.map(Daemon.kill, gone))

    def start_all(self) -> None:
        """Start every daemon, and wait until each knows all others."""
        first, *others = self.names
        self.start(first)
        until(self.paths(first).probe.exists)
        for name in others:  # one machine is measured once
            shutil.copy(self.paths(first).probe, self.paths(name).probe)
        self.start(*others)
        until(lambda: all(map(self._knows_all, self.running.values())), 60)

    def until_offers(self) -> None:
        """Wait until each also knows what the others' devices can do."""
        until(lambda: all(map(self._knows_offers, self.running.values())), 60)

    def _knows_all(self, daemon: Daemon) -> bool:
        return len(daemon.ask("peers")["peers"]) == len(self.names) - 1

    def _knows_offers(self, daemon: Daemon) -> bool:
        probed = daemon.ask("status")["device"] is not None
        return probed and all(peer["device"]["flops"] > 0 for peer in daemon.ask("peers")["peers"])

    def wallets(self) -> dict[str, dict[str, Any]]:
        return {name: daemon.ask("wallet") for name, daemon in self.running.items()}

    def books(self, seconds: float = 60.0, *, gaps: bool = False) -> Books:
        """The books once nothing is on its way and all replicas are equal; checked for what always holds.

        ``gaps``: an account may lack entries that it signed, for its folder was set back.
        """
        until(self._at_rest, seconds)
        books = Books(self.peers, {name: list(entries(daemon)) for name, daemon in self.running.items()})
        for name, daemon in self.running.items():
            books.check(name, daemon.ask("ledger"), daemon.ask("wallet"), gaps=gaps)
        return books

    def _at_rest(self) -> bool:
        wallets = self.wallets().values()
        busy = any(each["pending"] or each["waiting"] or each["pending_in"] or each["obstacle"] for each in wallets)
        return not busy and len({daemon.ask("ledger")["root"] for daemon in self.running.values()}) == 1


def entries(daemon: Daemon) -> Iterator[dict[str, Any]]:
    """Every line of an account's history, newest first."""
    before = 0
    while True:
        lines = daemon.ask("history", limit=PAGE, before=before)["lines"]
        last = len(lines) < PAGE
        # without the entry before it a line cannot say what it claimed: the next page shows it again
        yield from lines if last else lines[:-1]
        if last:
            return
        before = lines[-2]["seq"]


@dataclass
class Books:
    """Whole histories, by name."""

    peers: dict[str, str]
    histories: dict[str, list[dict[str, Any]]]

    def check(self, name: str, ledger: dict[str, Any], wallet: dict[str, Any], *, gaps: bool) -> None:
        """One chain without a gap, never below zero; no credit made or lost; nobody proven guilty."""
        lines = self.histories[name]
        numbers = [line["seq"] for line in lines]
        assert numbers == sorted(set(numbers), reverse=True)
        assert gaps or numbers == list(range(len(lines), 0, -1))
        assert all(line["state"] == "final" and line["balance"] >= 0 for line in lines)
        assert (wallet["seq"], wallet["frozen"], wallet["burned"]) == (max(numbers, default=0), False, 0)
        assert wallet["balance"] >= 0
        assert ledger["supply"]["total"] == ledger["supply"]["granted"] == GRANT * len(self.peers)
        assert ledger["supply"]["in_flight"] == 0
        assert ledger["proofs"] == []

    def paid(self, name: str) -> Counter[tuple[str, int]]:
        """How often an account paid a peer an amount."""
        ops = [op for line in self.histories[name] for op in line["ops"]]
        return Counter((op["peer"], op["amount"]) for op in ops if op["kind"] == "pay")

    def sent(self, payer: str, payee: str) -> int:
        return sum(amount * times for (peer, amount), times in self.paid(payer).items() if peer == self.peers[payee])

    def claimed(self, payee: str, payer: str) -> int:
        ops = [op for line in self.histories[payee] for op in line["ops"]]
        return sum(op["amount"] for op in ops if op["kind"] == "claim" and op["peer"] == self.peers[payer])

    def check_all_claimed(self) -> None:
        """To the unit, between each two accounts."""
        for payer in self.peers:
            for payee in self.peers:
                assert self.claimed(payee, payer) == self.sent(payer, payee)


@dataclass(frozen=True)
class Order:
    """Something a client asks for. Amounts of payments are all different, which tells them apart."""

    name: str
    method: str
    amount: int
    payee: str = ""


def orders(peers: dict[str, str], count: int, rng: random.Random) -> list[Order]:
    """Payments mostly, and some stakes and unstakes; no account spends more than it was granted."""
    names = list(peers)
    made: list[Order] = []
    for number in range(count):
        name = rng.choice(names)
        kind = rng.choices(("pay", "stake", "unstake"), (0.85, 0.1, 0.05))[0]
        payee = peers[rng.choice([other for other in names if other != name])] if kind == "pay" else ""
        amount = rng.randrange(1, 2000) * 1000 + number if kind == "pay" else rng.randrange(1, 1000)
        made.append(Order(name, kind, amount, payee))
    return made


class Clients:
    """Threads that bring orders to the daemons' control sockets, some to each, and note what they are told."""

    def __init__(self, swarm: LedgerSwarm, orders: list[Order]) -> None:
        self.told: dict[Order, str] = {}
        """The last word on each: ``final``, ``pending``, ``queued``, ``refused``, or ``lost`` if there was none."""
        self._swarm, self._orders = swarm, orders
        self._left = {name: iter([order for order in orders if order.name == name]) for name in swarm.names}
        self._lock = threading.Lock()
        self._failed: list[Exception] = []
        self._threads: list[threading.Thread] = []

    def start(self, for_each: int) -> None:
        for name in self._left:
            for _ in range(for_each):
                self._threads.append(threading.Thread(target=self._work, args=(name,), daemon=True))
        for thread in self._threads:
            thread.start()

    def until_answered(self, share: float) -> None:
        """Wait until this share of the orders has had a last word. Raises what went wrong in a client."""

        def enough() -> bool:
            if self._failed:
                raise self._failed[0]
            return len(self.told) >= share * len(self._orders)

        until(enough, 60)

    def check(self, books: Books) -> None:
        """What was called final, or only signed, is in its payer's chain once; what nobody knows of at most once."""
        paid = {name: books.paid(name) for name in self._left}
        for order in self._orders:
            if order.method == "pay":
                times, word = paid[order.name].pop((order.payee, order.amount), 0), self.told[order]
                assert times == 1 if word in ("final", "pending") else times <= 1, (order, word, times)
        assert not any(paid.values())

    def _work(self, name: str) -> None:
        try:
            while (order := self._next(name)) is not None:
                word = self._bring(order)
                with self._lock:
                    self.told[order] = word
        except (AssertionError, SwarmdError) as error:  # for the test's own thread
            self._failed.append(error)

    def _next(self, name: str) -> Order | None:
        with self._lock:
            return next(self._left[name], None)

    def _bring(self, order: Order) -> str:
        """Ask until the daemon is there to hear it; then its last word, whatever happens to it."""
        params: dict[str, Any] = {"amount": order.amount}
        if order.payee:
            params |= {"peer": order.payee}
        paths, word = self._swarm.paths(order.name), ""
        while not word:
            try:
                for view in stream(paths, order.method, idle=60.0, **params):
                    word = view["state"]
                word = word or "lost"  # it hung up without a word: nobody knows
            except DaemonUnreachable as error:
                word = "lost" if "hung up" in error.message else ""
                time.sleep(0.05)
            except UsageError:
                if order.method != "unstake":  # of more than is staked
                    raise
                word = "refused"
        return word
