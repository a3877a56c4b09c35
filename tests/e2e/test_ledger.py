"""Credits among real daemons that are killed, stopped, and set back: nothing is lost, made, or signed twice."""

from __future__ import annotations

import random
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from swarmd.cli.client import call, stream
from swarmd.protocols.ledger.amounts import MICRO
from tests.e2e.daemons import Daemon, daemons, until
from tests.e2e.ledger_swarm import GRANT, Clients, LedgerSwarm, orders
from tests.train.specs import small_job

pytestmark = [pytest.mark.slow, pytest.mark.net, pytest.mark.heavy]

ORDERS = 500
ROUNDS = (1, 2, 1, 2, 1, 2)
"""How many daemons are killed at once, one round after the other."""


def test_payments_outlive_every_kill_and_no_daemon_signs_twice(tmp_path: Path) -> None:
    rng = random.Random(11)
    names = [f"node{number}" for number in range(7)]
    with daemons(tmp_path) as start:
        swarm = LedgerSwarm(start, tmp_path, names, members=7)
        swarm.start_all()
        clients = Clients(swarm, orders(swarm.peers, ORDERS, rng))
        clients.start(for_each=2)
        for number, count in enumerate(ROUNDS):
            clients.until_answered((number + 1) / (len(ROUNDS) + 1))
            victims = rng.sample(names, count)
            swarm.kill(*victims)
            swarm.start(*victims)
        clients.until_answered(1)
        books = swarm.books()
        clients.check(books)
        books.check_all_claimed()


def paid_job(folder: Path, stages: int) -> str:
    job = small_job(folder, steps=100_000)
    job.write_text(
        job.read_text() + f"[run]\nmin_stages = {stages}\nrestarts = 0\n[budget]\nmax_credits = 900\npay_every = 4\n"
    )
    return str(job)


def spent(payer: Daemon, run: str) -> int:
    view = payer.ask("job", run=run)
    assert view["state"] not in ("failed", "stopped"), view["reason"]
    return (view["spending"] or {}).get("spent", 0)


def settled_invoice(payer: Daemon, run: str, seconds: float = 60.0) -> dict[str, Any]:
    def settled() -> dict[str, Any] | None:
        invoice = payer.ask("invoice", run=run)
        return invoice if invoice["balanced"] and not invoice["locked"] else None

    invoice = until(settled, seconds)
    assert 0 < invoice["invoiced"] == invoice["receipted"] == invoice["paid"]
    assert invoice["problems"] == []
    return invoice


def final(daemon: Daemon, payee: str, amount: int) -> None:
    assert [*stream(daemon.paths, "pay", idle=60.0, peer=payee, amount=amount)][-1]["state"] == "final"


def test_training_goes_on_while_half_of_the_committee_is_stopped(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        swarm = LedgerSwarm(start, tmp_path, ["payer", "worker", "third", "fourth"], members=4)
        swarm.flags = {"payer": ("--accept", "network"), "worker": ("--accept", "network", "--price", "1000000")}
        swarm.start_all()
        swarm.until_offers()
        payer, away = swarm.running["payer"], [swarm.running["third"], swarm.running["fourth"]]
        run = payer.ask("submit", path=paid_job(tmp_path, 2))["run"]
        until(lambda: spent(payer, run), 60)
        for daemon in away:
            daemon.process.send_signal(signal.SIGSTOP)
        before = spent(payer, run)
        first = call(payer.paths, "pay", wait=10.0, peer=swarm.peers["third"], amount=MICRO)
        assert first["state"] == "pending"
        wallet = until(
            lambda: (seen := payer.ask("wallet"))["pending"] and len(seen["pending"]["reasons"]) == 2 and seen, 40
        )
        assert wallet["pending"]["why"] == "2 of 4 committee members answer; 3 are needed"
        assert (wallet["pending"]["weight"], wallet["pending"]["quorum"]) == (2, 3)
        assert set(wallet["pending"]["reasons"]) == {swarm.peers["third"], swarm.peers["fourth"]}
        later = spent(payer, run)
        assert later > before
        until(lambda: spent(payer, run) > later + 20, 30)
        assert payer.ask("wallet")["pending"]
        payer.ask("stop", run=run)
        until(lambda: not swarm.running["worker"].ask("status")["hosting"], 20)
        assert payer.ask("invoice", run=run)["locked"]
        for daemon in away:
            daemon.process.send_signal(signal.SIGCONT)
        invoice = settled_invoice(payer, run)
        books = swarm.books()
        assert books.claimed("worker", "payer") == invoice["paid"]
        assert books.claimed("third", "payer") == MICRO


def test_a_killed_provider_is_paid_for_what_it_delivered(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        swarm = LedgerSwarm(start, tmp_path, ["payer", "worker", "killed", "fourth"], members=4)
        free, paid = ("--accept", "network"), ("--accept", "network", "--price", "1000000")
        swarm.flags = {"payer": free, "worker": paid, "killed": paid, "fourth": ("--max-stages", "0")}
        swarm.start_all()
        swarm.until_offers()
        payer = swarm.running["payer"]
        run = payer.ask("submit", path=paid_job(tmp_path, 3))["run"]
        until(lambda: spent(payer, run) > 100, 60)
        swarm.kill("killed")
        view = until(lambda: (seen := payer.ask("job", run=run))["state"] == "failed" and seen, 30)
        assert view["code"] == "peer_lost"
        swarm.start("killed")
        invoice = settled_invoice(payer, run)
        books = swarm.books()
        for name in ("worker", "killed"):
            due = sum(line["amount"] for line in invoice["lines"] if line["provider"] == swarm.peers[name])
            assert 0 < due == books.claimed(name, "payer")
            theirs = swarm.running[name].ask("invoice", run=run)
            assert (theirs["invoiced"], theirs["paid"]) == (due, due)


def test_a_folder_set_back_to_an_older_copy_goes_on_from_what_was_signed_since(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        swarm = LedgerSwarm(start, tmp_path, ["owner", "second", "third", "fourth"], members=4)
        swarm.start_all()
        second = swarm.peers["second"]
        final(swarm.running["owner"], second, 1)
        swarm.running.pop("owner").kill(signal.SIGTERM)
        shutil.copytree(tmp_path / "owner", tmp_path / "copy")
        swarm.start("owner")
        final(swarm.running["owner"], second, 10)
        final(swarm.running["owner"], second, 100)
        away = [swarm.running["third"], swarm.running["fourth"]]
        for daemon in away:
            daemon.process.send_signal(signal.SIGSTOP)
        assert call(swarm.running["owner"].paths, "pay", wait=10.0, peer=second, amount=1000)["state"] == "pending"
        until(lambda: swarm.running["owner"].ask("wallet")["pending"]["weight"] == 2)  # by itself and the second
        swarm.kill("owner")
        shutil.rmtree(tmp_path / "owner")
        (tmp_path / "copy").rename(tmp_path / "owner")
        swarm.start("owner")
        for daemon in away:
            daemon.process.send_signal(signal.SIGCONT)
        final(swarm.running["owner"], second, 10_000)
        books = swarm.books(gaps=True)
        assert books.claimed("second", "owner") == 11_111
        assert swarm.wallets()["owner"]["balance"] == GRANT - 11_111
