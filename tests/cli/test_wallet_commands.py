"""wallet and ledger: what people and scripts are told of credits."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import pytest

from swarmd.cli import units
from swarmd.cli.client import Channel
from swarmd.protocols.control import as_json
from swarmd.protocols.control_entries import OpView
from swarmd.protocols.errors import TimedOut, UsageError
from tests.cli import credit_snapshots as credits
from tests.cli.conftest import Cli
from tests.cli.credit_snapshots import CREDIT, ENTRY, PEER
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.snapshots import PEERS

pytestmark = pytest.mark.net


def rows(text: str) -> dict[str, str]:
    """The lines of a grid, by their names."""
    parts = (line.partition("  ") for line in text.splitlines())
    return {name.strip(): value.strip() for name, _, value in parts if name.strip()}


def test_a_balance_says_what_can_be_spent_and_where_the_rest_is(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["wallet"] = lambda _: as_json(credits.wallet())
    said = cli("wallet", "balance")
    assert said.code == 0
    shown = rows(said.out)
    assert shown["balance"] == "12.5 credits"
    assert shown["coming in"] == "3 credits  paid to you, not claimed yet"
    assert shown["set aside"].startswith("4 credits")
    assert shown["staked"] == "20 credits  of 50: half of what you earn is staked until then"
    assert shown["coming back"] == "5 credits  about 2026-10-05 14:13 (entry 7)"
    assert shown["account"] == PEERS[0]
    assert "pending" not in shown


def test_a_balance_says_what_is_pending_why_and_what_will_be_left(cli: Cli, daemon: FakeDaemon) -> None:
    stake = OpView(kind="stake", words="1 credit staked", amount=CREDIT)
    held_up = replace(
        credits.wallet(),
        pending=credits.pending(),
        waiting=1,
        queued=(stake,),
        balance_after=9_500_000,
        obstacle="2 of 4 committee members have said which entry of ours is the newest",
    )
    daemon.answers["wallet"] = lambda _: as_json(held_up)
    out = cli("wallet", "balance").out
    assert "entry 9 since 14:13:20, 2 of 3 votes by weight: 2 of 4 committee members answer" in out
    assert f"\n             2 credits to {PEERS[1][-8:]}" in out
    assert f"{PEERS[1][-8:]}: does not answer" in out
    shown = rows(out)
    assert shown["waiting"] == "1 write not signed yet, lost if the daemon is stopped before"
    assert "\n             1 credit staked" in out
    assert shown["then"] == "9.5 credits  the balance once all of this is final"
    assert shown["signing"].startswith("waits: 2 of 4 committee members have said")
    told = json.loads(cli("wallet", "balance", "--json").out)
    assert (told["balance"], told["pending"]["balance"], told["balance_after"]) == (12_500_000, 10_500_000, 9_500_000)
    assert (told["pending"]["ops"][0]["peer"], told["pending"]["ops"][0]["amount"]) == (PEERS[1], 2 * CREDIT)


def test_a_frozen_account_says_what_was_burned(cli: Cli, daemon: FakeDaemon) -> None:
    frozen = replace(credits.wallet(), frozen=True, burned=20 * CREDIT)
    daemon.answers["wallet"] = lambda _: as_json(frozen)
    shown = rows(cli("wallet", "balance").out)
    assert shown["state"].startswith("frozen: the key of this account signed two things that contradict")
    assert shown["burned"] == "20 credits"


def test_a_network_without_credits_is_one_clear_line(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["wallet"] = lambda _: as_json(credits.no_credits())
    daemon.answers["ledger"] = lambda _: as_json(replace(credits.ledger(), enabled=False, network_name="main"))
    line = "the network main has no credits: work on it is free, and there is nothing to pay with\n"
    for words in (("wallet", "balance"), ("ledger", "status"), ("ledger", "members")):
        said = cli(*words)
        assert (said.code, said.out) == (0, line)
    assert json.loads(cli("wallet", "balance", "--json").out)["enabled"] is False


def test_a_balance_as_json_is_in_micro_credits(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["wallet"] = lambda _: as_json(credits.wallet())
    said = json.loads(cli("wallet", "balance", "--json").out)
    assert said == {"v": 1, **json.loads(json.dumps(as_json(credits.wallet())))}
    assert said["balance"] == 12_500_000


def test_a_history_has_a_row_for_each_operation(cli: Cli, daemon: FakeDaemon) -> None:
    older = replace(credits.line(), seq=7, state="pending", change=None, note="")
    daemon.answers["history"] = lambda _: {"lines": [as_json(credits.line()), as_json(older)]}
    said = cli("wallet", "history", "--limit", "5", "--before", "9")
    lines = said.out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert lines[0].split() == ["#", "when", "what", "change", "balance"]
    assert lines[1].split()[:3] == ["8", "09-21", "14:13"]
    assert lines[1].split()[-2:] == ["+12", "12.5"]
    assert " ".join(" ".join(lines).split()).count("(run 4f1c is done)") == 1
    [pending] = [line for line in lines if "pending: " in line]
    assert pending.split()[-2:] == [units.DASH, "12.5"]
    assert sum("2 credits staked" in line for line in lines) == 2
    assert "swarmd wallet explain 8" in said.err
    assert daemon.asked == [("history", {"limit": 5, "before": 9})]
    assert json.loads(cli("wallet", "history", "--json").out)["lines"][0]["change"] == 12 * CREDIT


def test_an_empty_history_says_so(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["history"] = lambda _: {"lines": []}
    said = cli("wallet", "history")
    assert (said.code, said.out) == (0, "")
    assert "no entries yet" in said.err


def test_an_entry_is_explained_with_every_signature_checked(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["explain"] = lambda _: as_json(credits.explained())
    daemon.answers["receipts"] = lambda params: as_json(credits.receipts(params["number"], good=params["number"] == 1))
    said = cli("wallet", "explain", ENTRY[:6])
    shown = rows(said.out)
    assert shown["entry"] == f"8  {ENTRY}"
    assert shown["balance"] == "0.5 → 12.5"
    assert shown["set aside"] == "20 → 0"
    assert "coming back" not in shown
    assert shown["signature"] == "✔ the owner's"
    assert "✔  EfGhAbCd       1  signed, and it holds" in said.out
    assert "○  GhJkCdEf       1  not needed" in said.out
    assert "✔  close certificate  2 members of committee 0: lane 3 is closed at 6" in said.out
    assert "2 vouchers, 8 signatures checked: 1 voucher do NOT hold" in said.out
    assert "of 2 receipts do NOT hold" in said.out
    assert "checked, all hold" not in said.out  # a row for each voucher would be too long
    assert daemon.asked[0] == ("explain", {"entry": ENTRY[:6]})
    assert daemon.asked[1:] == [("receipts", {"payer": PEERS[0], "lane": 3, "number": each}) for each in (1, 2)]
    told = json.loads(cli("wallet", "explain", "8", "--json").out)
    assert told["line"]["entry"] == ENTRY
    assert [each["number"] for each in told["receipts"]] == [1, 2]
    assert told["receipts"][0]["receipts"][0]["raw"] == "00ff"


def test_a_signature_that_does_not_hold_is_told(cli: Cli, daemon: FakeDaemon) -> None:
    forged = replace(credits.explained(), signed=False, evidence=())
    daemon.answers["explain"] = lambda _: as_json(forged)
    assert "✘ NOT the owner's" in cli("wallet", "explain", "8").out


def writes(daemon: FakeDaemon, method: str, *states: str) -> None:
    daemon.answers[method] = lambda _: [as_json(credits.written(state)) for state in states]


def test_a_payment_prints_its_entry_and_says_when_it_is_final(cli: Cli, daemon: FakeDaemon) -> None:
    writes(daemon, "pay", "queued", "pending", "final")
    said = cli("wallet", "pay", PEER, "2.5", "--note", "for the cake")
    assert (said.code, said.out) == (0, ENTRY + "\n")
    assert f"2.5 credits paid to attic ({PEER[-8:]}): final after " in said.err
    assert daemon.asked[1:] == [("pay", {"peer": PEER, "amount": 2_500_000, "note": "for the cake"})]


def test_a_payment_as_json_is_one_object(cli: Cli, daemon: FakeDaemon) -> None:
    writes(daemon, "pay", "pending", "final")
    said = cli("wallet", "pay", PEER, "1", "--json")
    assert json.loads(said.out) == {"v": 1, "state": "final", "entry": ENTRY, "seq": 9, "why": "", "pending": None}
    assert said.err == ""


def test_a_payment_may_be_left_once_it_is_signed(cli: Cli, daemon: FakeDaemon) -> None:
    writes(daemon, "pay", "pending")
    said = cli("wallet", "pay", PEER, "1", "--no-wait")
    assert (said.code, said.out) == (0, ENTRY + "\n")
    assert "entry 9 is signed, votes of weight 2 of 3: 2 of 4 committee members answer" in said.err
    assert "swarmd wallet explain 9" in said.err


def test_a_payment_that_has_to_wait_for_its_turn_may_be_left_as_well(cli: Cli, daemon: FakeDaemon) -> None:
    writes(daemon, "pay", "queued")  # and no other word: whoever waited for one would fail
    said = cli("wallet", "pay", PEER, "1", "--no-wait")
    assert (said.code, said.out) == (0, "")
    assert "the payment waits, and is not signed yet: the entry before it is not final yet" in said.err
    assert "it is lost if the daemon is stopped before that" in said.err
    assert json.loads(cli("wallet", "pay", PEER, "1", "--no-wait", "--json").out)["state"] == "queued"


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, *, answer: bool) -> list[str]:
    """What is asked there; every question gets the same answer."""
    asked: list[str] = []

    def confirm(text: str, *, err: bool) -> bool:
        asked.append(text)
        return answer and err

    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", confirm)
    return asked


def test_a_payment_to_an_id_that_was_never_seen_is_asked_about_and_refused_without_a_terminal(
    cli: Cli, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    daemon.answers["payee"] = lambda params: as_json(credits.payee(params["peer"], name="", seen=False))
    writes(daemon, "pay", "final")
    for more in ((), ("--yes",), ("--json",)):
        said = cli("wallet", "pay", PEER, "1", *more)
        assert said.code == 2
        assert f"no node or account of the peer id {PEER} was ever seen here" in said.err + said.out
        assert f"swarmd wallet pay {PEER} 1 --unseen" in said.err + said.out
    assert {method for method, _ in daemon.asked} == {"payee"}
    assert cli("wallet", "pay", PEER, "1", "--unseen").code == 0
    asked = on_a_terminal(monkeypatch, answer=True)
    assert cli("wallet", "pay", PEER, "1").code == 0
    assert asked[0].startswith(f"No node or account of the peer id {PEER} was ever seen here. Pay 1 credit")


def test_nobody_pays_themselves(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["payee"] = lambda params: as_json(credits.payee(params["peer"], us=True))
    said = cli("wallet", "pay", PEER, "1")
    assert (said.code, daemon.asked) == (2, [("payee", {"peer": PEER})])
    assert "the peer id of this node itself" in said.err


def test_a_payment_asks_on_a_terminal_and_takes_no_for_an_answer(
    cli: Cli, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = on_a_terminal(monkeypatch, answer=False)
    said = cli("wallet", "pay", PEER, "1")
    assert (said.code, said.out, said.err) == (0, "", "nothing was paid\n")
    assert asked == [
        f"pay 1 credit to attic ({PEER[-8:]}), whose peer id is {PEER}? It cannot be taken back.",
    ]
    assert daemon.asked == [("payee", {"peer": PEER})]
    writes(daemon, "pay", "final")
    assert cli("wallet", "pay", PEER, "1", "--yes").code == 0


@pytest.mark.parametrize(
    ("amount", "wrong"),
    [
        ("0", "0 credits moves nothing"),
        ("-1", "-1 is below zero"),
        ("-12.5", "-12.5 is below zero"),
        ("1e3", "has an exponent"),
        ("1,5", "has a comma"),
        ("0.0000001", "more than 6 decimals"),
        ("9" * 20, "are too many"),
        ("", "is empty"),
        ("much", "is not a number of credits"),
    ],
)
def test_what_is_no_amount_is_not_paid(cli: Cli, daemon: FakeDaemon, amount: str, wrong: str) -> None:
    for said in (cli("wallet", "pay", "--yes", PEER, amount), cli("wallet", "stake", amount)):
        assert said.code == 2
        assert wrong in said.err
    assert daemon.asked == []


def test_a_payment_goes_to_a_whole_peer_id_only(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("wallet", "pay", PEER[-8:], "1")
    assert said.code == 2
    assert "is no peer id" in said.err
    assert daemon.asked == []


def test_a_refused_payment_says_why_in_words_and_in_json(cli: Cli, daemon: FakeDaemon) -> None:
    def refuse(_: dict[str, Any]) -> dict[str, Any]:
        raise UsageError("the balance of 1 credit is too small", hint="swarmd wallet balance")

    daemon.answers["pay"] = refuse
    said = cli("wallet", "pay", PEER, "5")
    assert (said.code, said.out) == (2, "")
    assert "the balance of 1 credit is too small" in said.err
    error = json.loads(cli("wallet", "pay", PEER, "5", "--json").out)["error"]
    assert (error["code"], error["exit_code"]) == ("usage", 2)


def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """The person presses ctrl-C once the daemon has said its first word."""
    plain, calls = Channel.receive, iter(range(100))

    def receive(self: Channel, timeout: float | None) -> list[dict[str, Any]]:
        if next(calls) > 1:  # the very first answer says who the receiver is
            raise KeyboardInterrupt
        return plain(self, timeout)

    monkeypatch.setattr(Channel, "receive", receive)


def test_ctrl_c_says_that_a_signed_payment_goes_on(
    cli: Cli, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes(daemon, "pay", "pending")
    interrupted(monkeypatch)
    said = cli("wallet", "pay", PEER, "1")
    assert (said.code, said.out) == (130, "")
    assert "the payment goes on: entry 9 is signed and becomes final by itself" in said.err
    assert "swarmd wallet explain 9" in said.err


def test_ctrl_c_before_the_signature_does_not_promise_anything(
    cli: Cli, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch
) -> None:
    writes(daemon, "pay", "queued")
    interrupted(monkeypatch)
    said = cli("wallet", "pay", PEER, "1")
    assert said.code == 130
    assert "the payment was not signed yet; it may still be" in said.err


def test_a_long_wait_says_what_it_waits_for_once(cli: Cli, daemon: FakeDaemon, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("swarmd.cli.writing.QUIET_SECONDS", 0.0)
    states = iter(["queued", "pending", "", "pending", "final"])

    def receive(self: Channel, timeout: float | None) -> list[dict[str, Any]]:
        state = next(states)
        if not state:
            raise TimedOut("nothing came")
        return [as_json(credits.written(state))]

    writes(daemon, "pay")
    monkeypatch.setattr("swarmd.cli.payees.find", lambda _, peer: credits.payee(peer))
    monkeypatch.setattr(Channel, "receive", receive)
    first, second, last = cli("wallet", "pay", PEER, "1").err.splitlines()
    assert first == "not signed yet: the entry before it is not final yet"
    assert second.startswith("entry 9 is signed, votes of weight 2 of 3: 2 of 4 committee members answer")
    assert "final after" in last


def test_a_daemon_that_ends_meanwhile_is_told(cli: Cli, daemon: FakeDaemon) -> None:
    writes(daemon, "pay", "pending")
    said = cli("wallet", "pay", PEER, "1")
    assert said.code == 3
    assert "goes on when it is started again" in said.err


def test_stake_and_unstake(cli: Cli, daemon: FakeDaemon) -> None:
    for method, words in (
        ("stake", "5 credits staked"),
        ("unstake", "5 credits unstaked, to come back after the cooldown"),
    ):
        writes(daemon, method, "final")
        said = cli("wallet", method, "5")
        assert (said.code, said.out) == (0, ENTRY + "\n")
        assert words in said.err
        assert daemon.asked[-1] == (method, {"amount": 5 * CREDIT})


def test_the_ledger_s_status_says_whether_anything_becomes_final_now(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["ledger"] = lambda _: as_json(credits.ledger())
    shown = rows(cli("ledger", "status").out)
    assert shown["committee"] == "number 2, 3 members"
    assert shown["answering"] == "weight 2 of 3; 3 make an entry final: too few, so nothing becomes final now"
    assert shown["proofs"] == "nobody has been proven to cheat"
    assert shown["total"] == "1,000 credits  as the genesis granted"
    assert json.loads(cli("ledger", "status", "--json").out)["supply"]["total"] == 1000 * CREDIT


def test_the_ledger_s_members_say_who_answers(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["ledger"] = lambda _: as_json(credits.ledger())
    out = cli("ledger", "members").out
    assert "●  EfGhAbCd (this node)       1  answers" in out
    assert "●  FgHjBcDe                   1  answers, and knows something else than this node" in out
    assert "○  GhJkCdEf                   1  does not answer" in out
    assert [each["answers"] for each in json.loads(cli("ledger", "members", "--json").out)["members"]] == [
        True,
        True,
        False,
    ]


def test_without_a_daemon_every_command_says_how_to_start_one(cli: Cli) -> None:
    for words in (("wallet", "balance"), ("wallet", "pay", PEER, "1"), ("ledger", "status"), ("earn",)):
        said = cli(*words)
        assert said.code == 3
        assert "swarmd up" in said.err
