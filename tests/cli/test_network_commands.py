"""``swarmd network``, and ``swarmd up --join``: what they print, what they ask for, what they refuse."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from swarmd.cli import network_tables, offline
from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of
from swarmd.invite import invite_of
from swarmd.network import MAIN, load_network, save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import NotFound, StateError, UsageError
from swarmd.state_lock import lock_state
from tests.cli.conftest import Became, Cli
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.folder import in_this_process

SPARE = "members of weight 1 together may be away"
PEERS = tuple(sorted(identity_of(bytes([n]) * 32).peer for n in range(1, 4)))
HOME = found_network(PEERS[0], Plan(name="home"))
INVITE = invite_of(HOME)
COMMITTEE = {
    "number": 2,
    "members": [[PEERS[0], 1], [PEERS[1], 3]],
    "weight": 4,
    "quorum": 3,
    "operator": PEERS[1],
    "us": PEERS[0],
}


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "ask_folder", in_this_process)


class TestInit:
    def test_it_prints_the_id_and_what_comes_next(self, cli: Cli, paths: Paths) -> None:
        done = cli("network", "init", "home")
        network = load_network(paths)
        assert network is not None
        assert (done.code, done.out) == (0, f"{network.id}\n")
        assert "the network home is made" in done.err
        assert "swarmd network invite" in done.err

    def test_every_option_reaches_the_genesis(self, cli: Cli, paths: Paths) -> None:
        done = cli(
            "network", "init", "home", "--supply", "500", "--grant", f"{PEERS[0]}=1.5", "--grant", f"{PEERS[1]}=2",
            "--member", PEERS[2], "--cooldown", "90s", "--grace", "12h", "--open", "--json",
        )  # fmt: skip
        made = json.loads(done.out)
        assert (made["v"], made["name"], made["supply"], made["private"]) == (1, "home", 500_000_000, False)
        assert dict(made["grants"])[PEERS[0]] == 1_500_000
        assert [peer for peer, _ in made["committee"]] == sorted([made["operator"], PEERS[2]])
        assert (made["cooldown"], made["grace"]) == (90, 43_200)

    def test_a_second_one_takes_force_and_keeps_the_first(self, cli: Cli, paths: Paths) -> None:
        cli("network", "init", "home")
        refused = cli("network", "init", "away")
        assert refused.code == 2
        assert "leaving it leaves behind" in refused.err
        assert "--force" in refused.err
        done = cli("network", "init", "away", "--force")
        assert (done.code, "what belongs to the one before is in" in done.err) == (0, True)

    def test_a_running_daemon_forbids_it(self, cli: Cli, paths: Paths) -> None:
        with lock_state(paths):
            done = cli("network", "init", "home")
        assert done.code == 1
        assert "already uses" in done.err
        assert "swarmd down" in done.err

    @pytest.mark.parametrize(
        "words",
        [
            ("Home",),
            ("x" * 33,),
            ("",),
            (),
            ("home", "--supply", "many"),
            ("home", "--supply", "0"),
            ("home", "--supply", "1", "--grant", f"{PEERS[0]}=2"),
            ("home", "--grant", PEERS[0]),
            ("home", "--grant", "me=1"),
            ("home", "--member", "me"),
            ("home", "--cooldown", "soon"),
            ("home", "--cooldown", "10"),
            ("home", "--grace", "1000d"),
        ],
    )
    def test_what_cannot_be_is_one_message_and_exit_code_2(
        self, cli: Cli, paths: Paths, words: tuple[str, ...]
    ) -> None:
        done = cli("network", "init", *words)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("swarmd:") == 1
        assert not paths.network.exists()


class TestShow:
    def test_main_has_no_credits(self, cli: Cli) -> None:
        done = cli("network", "show")
        assert "none: work here is free" in done.out
        assert MAIN.id in done.out

    def test_a_network_with_credits_says_who_holds_and_who_votes(self, cli: Cli, paths: Paths) -> None:
        save_network(paths, HOME)
        out = cli("network", "show").out
        assert "1,000,000 credits" in out
        assert f"1,000,000 to {PEERS[0]}" in out
        assert f"{PEERS[0]}, weight 1" in out
        assert "after 14d" in out
        assert HOME.psk is not None
        assert HOME.psk.hex() not in out + cli("network", "show", "--json").out

    def test_a_file_that_is_wrong_is_named_with_its_line(self, cli: Cli, paths: Paths) -> None:
        paths.network.write_text('name = "home"\ngenesis = "x"\n')
        done = cli("network", "show")
        assert done.code == 2
        assert "network.toml, line 2: genesis is not a network's" in done.err


class TestInvite:
    ANSWER = {"invite": INVITE, "network": HOME.id, "name": "home", "private": True, "contacts": []}  # noqa: RUF012

    def test_the_invite_alone_is_data(self, cli: Cli, daemon: FakeDaemon) -> None:
        daemon.answers["invite"] = lambda _: self.ANSWER
        done = cli("network", "invite")
        assert (done.code, done.out) == (0, f"{INVITE}\n")
        assert done.err == "  next: on another machine: swarmd up --join INVITE\n"
        assert json.loads(cli("network", "invite", "--json").out)["invite"] == INVITE

    def test_it_takes_a_daemon(self, cli: Cli) -> None:
        done = cli("network", "invite")
        assert (done.code, "swarmd up" in done.err) == (3, True)


class TestJoin:
    def test_by_invite(self, cli: Cli, paths: Paths) -> None:
        done = cli("network", "join", INVITE)
        assert (done.code, done.out) == (0, f"{HOME.id}\n")
        assert load_network(paths) == HOME
        assert json.loads(cli("network", "join", INVITE, "--json").out)["name"] == "home"

    def test_a_place_without_addresses_says_so(self, cli: Cli) -> None:
        done = cli("network", "join", INVITE)
        assert "it carries no addresses" in done.err
        assert "--bootstrap ADDRESS" in done.err

    def test_by_file(self, cli: Cli, paths: Paths, tmp_path: Path) -> None:
        (tmp_path / "invite").write_text(INVITE)
        assert cli("network", "join", str(tmp_path / "invite")).code == 0
        assert load_network(paths) == HOME

    @pytest.mark.parametrize("words", [(), ("hello",), (INVITE[:-1],), (INVITE[:20] + "#" + INVITE[21:],), ("/",)])
    def test_what_is_no_invite_is_one_message_and_exit_code_2(
        self, cli: Cli, paths: Paths, words: tuple[str, ...]
    ) -> None:
        done = cli("network", "join", *words)
        assert (done.code, done.out) == (2, "")
        assert done.err.count("swarmd:") == 1
        assert INVITE[8:40] not in done.err
        assert not paths.network.exists()

    def test_another_network_takes_force(self, cli: Cli, paths: Paths) -> None:
        cli("network", "init", "mine")
        assert cli("network", "join", INVITE).code == 2
        assert cli("network", "join", INVITE, "--force").code == 0
        assert load_network(paths) == HOME


class TestUpJoin:
    def test_the_folder_is_put_on_the_network_before_the_daemon_starts(
        self, cli: Cli, paths: Paths, became: type[Became]
    ) -> None:
        with pytest.raises(became) as start:
            cli("up", "--join", INVITE, "--price", "3")
        assert load_network(paths) == HOME
        assert "--price=3" in start.value.command
        assert not any(INVITE[:20] in word for word in start.value.command)

    def test_a_bad_invite_starts_nothing(self, cli: Cli, paths: Paths, became: type[Became]) -> None:
        assert cli("up", "--join", "hello").code == 2
        assert not paths.key.exists()


class TestCommittee:
    def test_who_votes_is_a_table(self, cli: Cli, daemon: FakeDaemon) -> None:
        daemon.answers["committee"] = lambda _: COMMITTEE
        out = cli("network", "committee", "show").out
        first, second = (line for line in out.splitlines() if "12D3" in line)
        assert first.split() == [PEERS[0], "1", "this", "node"]
        assert second.split() == [PEERS[1], "3", "operator"]
        assert "committee 2; 3 certify" in out
        assert json.loads(cli("network", "committee", "show", "--json").out) == {"v": 1, **COMMITTEE}

    def test_members_are_sent_with_their_weights(self, cli: Cli, daemon: FakeDaemon) -> None:
        daemon.answers["committee_set"] = lambda _: COMMITTEE
        done = cli("network", "committee", "set", PEERS[0], f"{PEERS[1]}=3")
        assert daemon.asked[-1] == ("committee_set", {"members": [[PEERS[0], 1], [PEERS[1], 3]]})
        assert (done.code, done.err) == (0, f"committee 2 votes from now on: 2 members\n  {SPARE}\n")

    def test_of_three_equal_members_none_may_be_away(self, cli: Cli, daemon: FakeDaemon) -> None:
        three = {"members": [[peer, 1] for peer in PEERS], "weight": 3, "quorum": 3}
        daemon.answers["committee_set"] = lambda _: {**COMMITTEE, **three}
        assert "none of them may be away" in cli("network", "committee", "set", *PEERS).err

    def test_a_weight_of_0_is_told_what_a_weight_is(self, cli: Cli) -> None:
        assert "1 or more" in cli("network", "committee", "set", "a", "b=0").err

    @pytest.mark.parametrize("words", [(), ("a=",), ("a=0",), ("a=x",), ("a=1.5",), (f"a={10**19}",), ("a=²",)])
    def test_what_is_no_member_is_one_message_and_exit_code_2(
        self, cli: Cli, daemon: FakeDaemon, words: tuple[str, ...]
    ) -> None:
        done = cli("network", "committee", "set", *words)
        assert (done.code, done.err.count("swarmd:")) == (2, 1)
        assert daemon.asked == []


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0s"), (90, "90s"), (120, "2m"), (43_200, "12h"), (14 * 86_400, "14d")]
)
def test_a_duration_is_said_in_its_largest_whole_unit(seconds: int, text: str) -> None:
    assert network_tables.duration(seconds) == text


class TestAskingAFolder:
    """The process of its own, as it really is."""

    @pytest.fixture(autouse=True)
    def real(self, monkeypatch: pytest.MonkeyPatch, same_process: None) -> None:
        monkeypatch.undo()

    @pytest.mark.slow
    def test_it_answers(self, paths: Paths) -> None:
        assert offline.ask_folder(paths, "network_init", name="home")["name"] == "home"

    @pytest.mark.slow
    def test_its_error_is_ours(self, paths: Paths) -> None:
        with pytest.raises(UsageError, match="a network's name is") as caught:
            offline.ask_folder(paths, "network_init", name="?")
        assert caught.value.hint == "swarmd network init --help"

    @pytest.mark.parametrize(
        ("script", "kind", "says"),
        [
            ('print(\'{"error": {"code": "not_found", "message": "gone"}}\')', NotFound, "gone"),
            ("import sys; sys.exit(3)", StateError, "exit code 3"),
            ("print('[]')", StateError, "no answer"),
            ("print('{}')", StateError, "no answer"),
        ],
    )
    def test_a_process_that_fails_is_explained(
        self, paths: Paths, monkeypatch: pytest.MonkeyPatch, script: str, kind: type[Exception], says: str
    ) -> None:
        monkeypatch.setattr(offline, "module_command", lambda *_: [sys.executable, "-c", script])
        with pytest.raises(kind, match=says):
            offline.ask_folder(paths, "key_show")
