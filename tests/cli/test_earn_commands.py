"""earn and prices."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

import swarmd.cli.prices
from swarmd.cli.prices import LABEL, Cost, comparison, load_prices, price_file
from swarmd.cli.units import DASH
from swarmd.paths import Paths
from swarmd.protocols.control import as_json
from swarmd.protocols.errors import UsageError
from tests.cli import credit_snapshots as credits
from tests.cli.conftest import Cli
from tests.cli.credit_snapshots import CREDIT, ENTRY
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.snapshots import RUN
from tests.cli.test_wallet_commands import rows

SHIPPED = Path(__file__).parents[2] / "cli" / "prices.toml"
OWN = """
[[price]]
what = "my card"
low = 0.36
currency = "EUR"
per = "GPU-hour"
date = "2026-11"
source = "my provider"
tokens_per_s = 1000
"""


def words_of(cost: Cost, path: Path) -> str:
    """A comparison as text."""
    from rich.console import Console

    printer = Console(width=300)
    with printer.capture() as captured:
        printer.print(comparison(cost, load_prices(path)))
    return captured.get()


@pytest.mark.net
def test_earn_says_what_is_done_what_it_brings_and_what_it_costs(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["earn"] = lambda _: as_json(credits.earn())
    said = cli("earn")
    shown = rows(said.out)
    assert said.code == 0
    assert (shown["now"], shown["stage"]) == ("working", "trains stage 1")
    assert (shown["steps/s"], shown["power"], shown["temperature"]) == ("3.50", "170 W", "64 °C")
    assert shown["earned today"] == "2 credits  for work, claimed"
    assert shown["pending"] == "1.25 credits  vouchers that are not claimed yet"
    assert shown["final"] == "9 credits  for work, claimed, all in all; payments are not counted"
    assert shown["held"] == "4 credits  staked"
    assert shown["energy"] == "1.250 kWh since 2026-09-20, 0.400 today (as the device tells it)"
    assert shown["cost"] == "0.40 EUR at 0.32 EUR/kWh"
    assert shown["net"] == "-0.0750 EUR  3.25 credits at 0.1 EUR each, less the energy"
    assert shown["warning"].startswith("the energy costs 0.08 EUR more")
    [job] = [line for line in said.out.splitlines() if line.startswith(f"{RUN[:8]}  GhJkCdEf")]
    assert job.split()[-5:] == ["1.25", "2", "28", "09-21", "16:13"]
    assert max(map(len, said.out.splitlines()[-7:])) <= 80
    assert ENTRY[:8] in said.out
    assert json.loads(cli("earn", "--json").out)["earned"]["pending"] == 1_250_000


@pytest.mark.net
def test_what_is_not_known_names_the_setting_that_says_it(cli: Cli, daemon: FakeDaemon) -> None:
    view = credits.earn()
    silent = replace(view.energy, source="", kwh=0.0, since="")
    daemon.answers["earn"] = lambda _: as_json(replace(view, energy=silent))
    assert "power_watts" in rows(cli("earn").out)["energy"]
    daemon.answers["earn"] = lambda _: as_json(replace(view, energy=replace(view.energy, kwh_price=0.0)))
    assert "kwh_price" in rows(cli("earn").out)["cost"]
    daemon.answers["earn"] = lambda _: as_json(replace(view, energy=replace(view.energy, gross=None, net=None)))
    assert "credit_value" in rows(cli("earn").out)["net"]


@pytest.mark.net
def test_an_idle_node_on_a_network_without_credits_says_both(cli: Cli, daemon: FakeDaemon) -> None:
    idle = replace(credits.earn().now, state="idle", why_idle="nobody has asked for a stage", price=0)
    daemon.answers["earn"] = lambda _: as_json(replace(credits.earn(), enabled=False, network_name="main", now=idle))
    out = cli("earn").out
    assert rows(out)["why idle"] == "nobody has asked for a stage"
    assert "0: your work is free" in out
    assert "the network main has no credits" in out
    assert "earned today" not in out


def test_the_listed_prices_carry_their_date_and_say_whose_they_are(cli: Cli) -> None:
    said = cli("prices")
    assert said.code == 0
    assert f"A100, cloud            0.80{DASH}3.00 USD" in said.out
    assert "2026-05  Mercatus" in said.out
    assert LABEL in said.err
    told = json.loads(cli("prices", "--json").out)
    assert told["label"] == LABEL
    assert all(price["date"] and price["source"] for price in told["prices"])


def test_the_owner_s_own_list_wins(cli: Cli, paths: Paths) -> None:
    where = cli("prices", "--path").out.strip()
    assert where == str(paths.state_dir / "prices.toml")
    assert price_file(paths.state_dir) == Path(swarmd.cli.prices.__file__).with_name("prices.toml")
    Path(where).write_text(OWN)
    assert "my card" in cli("prices").out
    assert "Mercatus" not in cli("prices").out


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("price = 3", "it holds"),
        ("[[price]]\nwhat = 'x'", "needs the texts"),
        (OWN.replace("0.36", "-1"), "a positive low"),
        (OWN.replace("1000", "'fast'"), "a positive tokens_per_s"),
        (OWN.replace("GPU-hour", "month"), 'per = "GPU-hour"'),
        (OWN + "colour = 'red'", "may have"),
        ("this is not TOML", "Expected"),
    ],
)
def test_a_list_with_a_mistake_names_the_file(tmp_path: Path, text: str, wrong: str) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(text)
    with pytest.raises(UsageError, match=r"prices\.toml") as caught:
        load_prices(file)
    assert wrong in caught.value.message


def test_nothing_is_compared_before_a_credit_has_a_value() -> None:
    said = words_of(Cost(10 * CREDIT, 5_000_000, 0.0, "USD"), SHIPPED)
    assert said.strip() == "a million tokens cost 2 credits; not compared with prices in money: credit_value is not set"


def test_prices_by_the_hour_are_not_compared_with_tokens() -> None:
    said = words_of(Cost(10 * CREDIT, 5_000_000, 0.5, "USD"), SHIPPED)
    assert "a million tokens here  1.00 USD  (2 credits at 0.5 USD each)" in said
    assert "5 of 5 listed prices cannot be compared" in said
    assert "Mercatus" not in said


def test_a_speed_of_one_s_own_makes_them_comparable_in_one_currency(tmp_path: Path) -> None:
    file = tmp_path / "prices.toml"
    file.write_text(OWN)
    said = words_of(Cost(10 * CREDIT, 5_000_000, 0.5, "EUR"), file)
    assert "… my card              0.10 EUR  (my provider, 2026-11; speed by you)" in said
    assert LABEL in said
    assert "compare the losses too" in said
    foreign = words_of(Cost(10 * CREDIT, 5_000_000, 0.5, "USD"), file)
    assert "my card" not in foreign
    assert "1 of 1 are in another currency than USD: not compared" in foreign


def test_a_run_that_cost_nothing_is_not_compared() -> None:
    assert "nothing was paid for here" in words_of(Cost(0, 5_000_000, 0.5, "EUR"), SHIPPED)
