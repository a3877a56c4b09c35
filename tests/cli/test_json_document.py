"""docs/json.md names every field of what ``--json`` sends of credits, and says where it may be null."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from swarmd.cli.demo.credits import Credits
from swarmd.ledger.network_methods import NetworkMethods
from swarmd.network import MAIN
from swarmd.offline import answer
from swarmd.paths import Paths
from swarmd.protocols import control_credits, control_earn, control_entries
from swarmd.protocols.ledger.committee import Committee, first_committee
from swarmd.protocols.ledger.genesis import Member
from tests.protocols.keys import who

DOCUMENT = Path(__file__).parents[2] / "docs" / "json.md"
RECORDS: dict[str, type[Any]] = {
    "Account": control_credits.WalletView,
    "Pending": control_credits.PendingView,
    "Operation": control_entries.OpView,
    "Unbonding": control_credits.UnbondingView,
    "Write": control_credits.WriteView,
    "Entry": control_entries.HistoryLine,
    "Explanation": control_entries.ExplainView,
    "Sums": control_entries.StateView,
    "Vote": control_entries.VoteView,
    "Evidence": control_entries.EvidenceView,
    "Receipts": control_entries.ReceiptsView,
    "Receipt": control_entries.ReceiptView,
    "Ledger": control_credits.LedgerView,
    "Member": control_credits.MemberView,
    "Supply": control_credits.SupplyView,
    "Invoice": control_credits.InvoiceView,
    "Invoice line": control_credits.InvoiceLine,
    "Spending": control_credits.SpendingView,
    "Credits of a node": control_credits.CreditsView,
    "Earnings": control_earn.EarnView,
    "Now": control_earn.NowView,
    "Earned": control_earn.EarnedView,
    "Day": control_earn.DayView,
    "Job": control_earn.JobEarningView,
    "Energy": control_earn.EnergyView,
    "The demo's books": Credits,
}


def documented() -> dict[str, dict[str, str]]:
    """By heading: each field with what is said of it."""
    parts = re.split(r"^## ", DOCUMENT.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    return {part.partition("\n")[0]: dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", part, re.MULTILINE)) for part in parts}


@pytest.mark.parametrize("title", RECORDS)
def test_every_field_of_a_record_is_documented_in_its_order_and_no_other(title: str) -> None:
    said, known = documented()[title], fields(RECORDS[title])
    assert list(said) == [field.name for field in known]
    assert {name for name, words in said.items() if "null" in words} == {
        field.name for field in known if "None" in str(field.type)
    }


def test_the_sections_are_those_of_the_records_and_of_the_network() -> None:
    assert [*documented()] == [*RECORDS, "A network", "An invite", "A committee"]


async def unchanged(members: tuple[Member, ...]) -> Committee:
    """The main network's committee never changes."""
    return Committee(1, members)


async def test_the_network_s_objects_have_the_documented_fields(tmp_path: Path) -> None:
    me = who(1).peer
    methods = NetworkMethods(
        network=MAIN, me=me, addresses=tuple, committee=lambda: first_committee(MAIN.genesis), change=unchanged
    ).table()
    said = documented()
    shown = answer(Paths(tmp_path), b'{"method": "network_show", "params": {}}')
    assert list(said["A network"]) == [*shown, "left"]
    assert list(said["An invite"]) == list(await methods["invite"]({}))
    assert list(said["A committee"]) == list(await methods["committee"]({}))
