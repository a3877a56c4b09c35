"""Private networks with real daemons: who is invited meets the others, who is not stays outside."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from swarmd.cli.offline import ask_folder
from swarmd.paths import Paths
from tests.e2e.daemons import daemons, until

pytestmark = [pytest.mark.slow, pytest.mark.net, pytest.mark.heavy]


def known(daemon) -> set[str]:
    return {peer["peer"] for peer in daemon.ask("peers")["peers"]}


def test_an_invite_is_all_that_another_node_needs_now_and_after_a_restart(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        ask_folder(Paths(tmp_path / "one"), "network_init", name="home")
        first = start("one")
        ask_folder(Paths(tmp_path / "two"), "network_join", invite=first.ask("invite")["invite"])
        second = start("two")
        until(lambda: known(first) == {second.peer} and known(second) == {first.peer})
        second.kill(signal.SIGTERM)
        again = start("two")
        until(lambda: again.peer in known(first) and known(again) == {first.peer})
        assert again.peer == second.peer


def test_who_has_no_invite_stays_outside_and_who_has_one_may_be_let_vote(tmp_path: Path) -> None:
    with daemons(tmp_path) as start:
        ask_folder(Paths(tmp_path / "one"), "network_init", name="home")
        first = start("one")
        stranger = start("stranger", "--bootstrap", first.addresses[0])
        ask_folder(Paths(tmp_path / "two"), "network_join", invite=first.ask("invite")["invite"])
        second = start("two")
        until(lambda: known(first) == {second.peer})
        assert known(stranger) == set()
        members = [[peer, 1] for peer in sorted((first.peer, second.peer))]
        assert first.ask("committee_set", members=members)["number"] == 1
        until(lambda: second.ask("committee")["number"] == 1)
        assert second.ask("committee")["members"] == members
