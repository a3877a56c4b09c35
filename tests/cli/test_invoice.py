"""What a run costs: while it runs, when it is over, and down to the signatures."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from rich.console import Console

from swarmd.cli.units import DASH
from swarmd.cli.views import Screen, render
from swarmd.protocols.control import as_json
from swarmd.protocols.errors import NotFound
from tests.cli import credit_snapshots as credits
from tests.cli import snapshots
from tests.cli.conftest import Cli
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.snapshots import RUN
from tests.cli.test_wallet_commands import rows

pytestmark = pytest.mark.net


def settings(**values: Any) -> dict[str, Any]:
    return {"settings": [{"name": name, "value": value, "origin": "config.toml"} for name, value in values.items()]}


def test_a_run_shows_what_it_costs_while_it_runs(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["job"] = lambda _: as_json(credits.paid_run())
    said = cli("jobs", "show", RUN[:8])
    shown = rows(said.out)
    assert (shown["estimate"], shown["spent"]) == ("10.8 credits", "2.6 credits")
    assert shown["locked"] == "20 credits  set aside for its providers"
    assert shown["left"] == "17.4 credits  of its budget"
    assert "invoiced" not in shown
    assert json.loads(cli("jobs", "show", RUN, "--json").out)["spending"]["locked"] == 20_000_000


def test_a_run_that_is_over_shows_its_invoice_and_prices_elsewhere(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["invoice"] = lambda _: as_json(credits.invoice())
    daemon.answers["config"] = lambda _: settings(credit_value=0.5, currency="USD")
    said = cli("jobs", "show", RUN[:8])
    shown = rows(said.out)
    assert shown["invoiced"] == "10.8 credits  by the newest vouchers"
    assert shown["receipted"] == "10.8 credits  by the operations in the lines above"
    assert shown["paid"] == "10.8 credits  settled on the ledger"
    assert shown["refunded"] == "9.2 credits"
    assert shown["balance"] == "✔ vouchers, lines and settlements agree"
    first = next(line for line in said.out.splitlines() if "EfGhAbCd" in line and "3.00 P" in line)
    cells = f"0 EfGhAbCd 0{DASH}3 1 0{DASH}999 3.00 P 1,200 3.6 3 125 8,000 8,000 250 50b312f5"
    assert " ".join(first.split()) == cells
    assert "a million tokens here" in said.out


def test_a_run_nobody_was_paid_for_shows_no_invoice(cli: Cli, daemon: FakeDaemon) -> None:
    assert "invoiced" not in cli("jobs", "show", RUN[:8]).out
    assert cli("jobs", "show", RUN[:8], "--invoice").out == "nobody was paid for this run\n"
    daemon.answers["invoice"] = lambda _: as_json(replace(credits.unpaid(), enabled=False))
    assert "on a network without credits work is free" in cli("jobs", "show", RUN[:8], "--invoice").out


def test_an_invoice_that_does_not_add_up_says_where(cli: Cli, daemon: FakeDaemon) -> None:
    wrong = replace(credits.invoice(), balanced=False, problems=("lane 3: 5 was paid on a voucher of 6",))
    daemon.answers["invoice"] = lambda _: as_json(wrong)
    out = cli("jobs", "show", RUN[:8], "--invoice").out
    assert "✘ it does NOT add up" in out
    assert "lane 3: 5 was paid on a voucher of 6" in out


def test_an_invoice_alone_and_as_json(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["invoice"] = lambda _: as_json(credits.invoice())
    said = cli("jobs", "show", RUN[:8], "--invoice")
    assert "loss" not in rows(said.out)
    assert f"swarmd jobs show {RUN[:8]} --receipts" in said.err
    told = json.loads(cli("jobs", "show", RUN[:8], "--invoice", "--json").out)
    assert told == {"v": 1, **json.loads(json.dumps(as_json(credits.invoice())))}
    assert daemon.asked == [("invoice", {"run": RUN[:8]})] * 2


def detailed(daemon: FakeDaemon, bad: int = 0) -> None:
    """An invoice of two pages with three vouchers; the receipts of voucher ``bad`` do not hold."""
    line = replace(credits.invoice().lines[0], lane=3)
    pages = {
        0: replace(credits.invoice(), lines=(replace(line, voucher=1), replace(line, voucher=2)), more=True),
        2: replace(credits.invoice(), lines=(replace(line, voucher=2, stage=1), replace(line, voucher=3))),
    }
    daemon.answers["invoice"] = lambda params: as_json(pages[params["after"]])
    daemon.answers["receipts"] = lambda params: as_json(
        credits.receipts(params["number"], good=params["number"] != bad)
    )


def test_receipts_are_checked_voucher_by_voucher(cli: Cli, daemon: FakeDaemon) -> None:
    detailed(daemon)
    said = cli("jobs", "show", RUN[:8], "--receipts")
    assert said.code == 0
    assert said.out.count("4 checked, all hold") == 3
    assert said.err.strip() == "3 vouchers, 12 signatures checked: all hold"
    assert [params["number"] for method, params in daemon.asked if method == "receipts"] == [1, 2, 3]


def test_a_receipt_that_does_not_hold_is_told_and_is_a_failure(cli: Cli, daemon: FakeDaemon) -> None:
    detailed(daemon, bad=2)
    said = cli("jobs", "show", RUN[:8], "--receipts")
    assert said.code == 1
    assert "✘     3        2         2  of 2 receipts do NOT hold" in said.out
    assert "1 voucher do NOT hold" in said.err


def test_receipts_as_json_are_one_object_for_each_voucher(cli: Cli, daemon: FakeDaemon) -> None:
    detailed(daemon)
    told = [json.loads(line) for line in cli("jobs", "show", RUN[:8], "--receipts", "--json").out.splitlines()]
    assert [(each["v"], each["number"]) for each in told] == [(1, 1), (1, 2), (1, 3)]
    assert told[0]["receipts"][0]["raw"] == "00ff"


def test_a_run_that_is_not_known_is_not_found(cli: Cli, daemon: FakeDaemon) -> None:
    def unknown(_: dict[str, Any]) -> dict[str, Any]:
        raise NotFound("no run 'ffff' here, and none that paid this node", hint="swarmd jobs ls")

    daemon.answers["invoice"] = unknown
    for flag in ("--invoice", "--receipts"):
        assert cli("jobs", "show", "ffff", flag).code == 6


def test_a_run_of_another_shows_what_it_paid_this_node(cli: Cli, daemon: FakeDaemon) -> None:
    def unknown(_: dict[str, Any]) -> dict[str, Any]:
        raise NotFound("no run here", hint="swarmd jobs ls")

    daemon.answers["job"] = unknown
    daemon.answers["invoice"] = lambda _: as_json(replace(credits.invoice(), role="provider"))
    said = cli("jobs", "show", RUN[:8])
    assert (said.code, rows(said.out)["invoiced"]) == (0, "10.8 credits  by the newest vouchers")
    assert cli("jobs", "show", RUN[:8], "--json").code == 6


def test_status_has_a_line_on_credits(cli: Cli, daemon: FakeDaemon) -> None:
    assert "credits" not in rows(cli("status").out)
    daemon.answers["status"] = lambda _: as_json(credits.rich_node())
    line = "12.5 credits; 4 set aside; 20 staked; earned 7, 1 pending"
    assert rows(cli("status").out)["credits"] == line
    assert snapshots.node().credits is None


def test_the_dashboard_of_a_node_without_runs_has_a_line_on_credits() -> None:
    picture = replace(snapshots.snapshot(None), node=credits.rich_node())
    printer = Console(width=100)
    with printer.capture() as captured:
        printer.print(render(picture, Screen(), 100, 30), height=30)
    assert "credits   12.5 credits; 4 set aside; 20 staked; earned 7, 1 pending" in captured.get()
    assert "swarmd train JOB.toml" in captured.get()


@pytest.mark.net
def test_invoice_and_receipts_together_are_both_told(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["invoice"] = lambda _: as_json(credits.invoice())
    daemon.answers["receipts"] = lambda params: as_json(credits.receipts(params["number"]))
    said = cli("jobs", "show", RUN[:8], "--invoice", "--receipts")
    assert said.code == 0
    assert "vouchers, lines and settlements agree" in said.out
    assert "2 vouchers, 8 signatures checked: all hold" in said.err
    first, *others = cli("jobs", "show", RUN[:8], "--invoice", "--receipts", "--json").out.splitlines()
    assert json.loads(first)["invoiced"]
    assert [json.loads(other)["number"] for other in others] == [125, 125]
