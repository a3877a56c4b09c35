"""What is done to a folder without its daemon, asked as the command line asks: one request, one answer."""

from __future__ import annotations

import io
import json
import sys

import pytest

from swarmd.identity import identity_of, load_or_create_identity
from swarmd.network import MAIN, load_network, save_network
from swarmd.offline import MAX_REQUEST_BYTES, answer, main
from swarmd.paths import Paths
from swarmd.protocols.errors import StateError, UsageError
from swarmd.protocols.ledger.amounts import MICRO
from swarmd.state_lock import lock_state

PEERS = tuple(sorted(identity_of(bytes([n]) * 32).peer for n in range(1, 4)))


@pytest.fixture
def paths(tmp_path):
    return Paths(tmp_path / "state")


def ask(paths, method, **params):
    return answer(paths, json.dumps({"method": method, "params": params}).encode())


def test_the_key_is_made_once_and_shown(paths):
    made = ask(paths, "key_make")
    assert made == ask(paths, "key_make") == ask(paths, "key_show") == {"peer": load_or_create_identity(paths).peer}


def test_a_key_that_is_not_there_is_not_made_by_looking(paths):
    with pytest.raises(StateError, match="there is no key"):
        ask(paths, "key_show")
    assert not paths.state_dir.exists()


def test_looking_at_the_network_of_a_new_folder_shows_main_and_writes_nothing(paths):
    found = ask(paths, "network_show")
    assert (found["name"], found["network"], found["credits"], found["private"]) == ("main", MAIN.id, False, False)
    assert not paths.state_dir.exists()


def test_a_network_is_made_with_the_key(paths):
    made = ask(
        paths,
        "network_init",
        name="home",
        supply="1000",
        grants=[f"{PEERS[0]}=250.5"],
        members=list(PEERS[1:]),
        cooldown=60,
        grace=10,
    )
    me = ask(paths, "key_show")["peer"]
    assert made == {
        "name": "home",
        "network": load_network(paths).id,
        "private": True,
        "credits": True,
        "supply": 1000 * MICRO,
        "grants": sorted([[PEERS[0], 250_500_000], [me, 749_500_000]]),
        "operator": me,
        "committee": [[peer, 1] for peer in sorted([me, *PEERS[1:]])],
        "cooldown": 60,
        "grace": 10,
        "contacts": [],
        "left": None,
    }
    assert load_network(paths).psk.hex() not in json.dumps(made)


def test_another_node_joins_by_a_copy_of_the_file_and_sees_the_same(paths, tmp_path):
    made = ask(paths, "network_init", name="home")
    joined = ask(Paths(tmp_path / "other"), "network_join", invite=str(paths.network))
    assert joined == made
    assert ask(Paths(tmp_path / "other"), "network_join", invite=str(paths.network)) == made


def test_a_second_network_takes_force_and_says_where_the_first_one_went(paths):
    ask(paths, "network_init", name="home")
    with pytest.raises(UsageError, match="on the network 'home' already"):
        ask(paths, "network_init", name="away")
    made = ask(paths, "network_init", name="away", force=True)
    assert "left-home-" in made["left"]
    assert load_network(paths).name == "away"


def test_main_is_left_without_a_word(paths):
    save_network(paths, MAIN)
    assert ask(paths, "network_init", name="home")["left"] is None


@pytest.mark.parametrize("method", ["network_init", "network_join", "key_make"])
def test_nothing_changes_while_the_daemon_runs(paths, tmp_path, method):
    source = Paths(tmp_path / "source")
    ask(source, "network_init", name="home")
    with lock_state(paths), pytest.raises(StateError, match="already uses"):
        ask(paths, method, name="home", invite=str(source.network))
    assert load_network(paths) is None


@pytest.mark.slow
def test_a_backup_is_made_beside_a_running_daemon_and_restored_without_one(paths, tmp_path):
    ask(paths, "network_init", name="home")
    file = str(tmp_path / "node.backup")
    with lock_state(paths):
        made = ask(paths, "key_backup", file=file, passphrase="correct horse")
    other = Paths(tmp_path / "other")
    found = ask(other, "key_restore", file=file, passphrase="correct horse")
    assert (found["peer"], found["network"], found["name"]) == (made["peer"], load_network(paths).id, "home")
    assert ask(other, "key_show")["peer"] == made["peer"]


@pytest.mark.parametrize(
    ("params", "says"),
    [
        ({}, "a network's name is"),
        ({"name": "Home"}, "a network's name is"),
        ({"name": 7}, "'name' must be a str"),
        ({"name": "home", "supply": "none"}, "is not a number of credits"),
        ({"name": "home", "supply": "1", "grants": [f"{PEERS[0]}=2"]}, "more than the supply"),
        ({"name": "home", "grants": [PEERS[0]]}, "is not a grant"),
        ({"name": "home", "grants": "text"}, "'grants' must be a list"),
        ({"name": "home", "grants": [7]}, "'grants' must be a list of texts"),
        ({"name": "home", "members": ["me"]}, "is not a peer id"),
        ({"name": "home", "cooldown": -1}, "such limits cannot be"),
        ({"name": "home", "grace": 10**9}, "such limits cannot be"),
        ({"name": "home", "open": "yes"}, "'open' must be a bool"),
    ],
)
def test_what_cannot_be_is_refused_and_no_network_chosen(paths, params, says):
    with pytest.raises(UsageError, match=says) as caught:
        ask(paths, "network_init", **params)
    assert caught.value.hint
    assert not paths.network.exists()


@pytest.mark.parametrize(
    "raw",
    [b"", b"{", b"[]", b'{"method": "key_show"}', b'{"method": "x", "params": {}}', b" " * (MAX_REQUEST_BYTES + 1)],
)
def test_what_is_no_request_is_refused(paths, raw):
    with pytest.raises(UsageError):
        answer(paths, raw)


def run(monkeypatch, capsys, paths, request):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(json.dumps(request).encode())))
    code = main(["--state-dir", str(paths.state_dir)])
    return code, json.loads(capsys.readouterr().out)


def test_the_process_answers_with_one_line(monkeypatch, capsys, paths):
    code, found = run(monkeypatch, capsys, paths, {"method": "key_make", "params": {}})
    assert (code, set(found["result"])) == (0, {"peer"})


def test_the_process_answers_failures_too(monkeypatch, capsys, paths):
    code, found = run(monkeypatch, capsys, paths, {"method": "network_join", "params": {"invite": "hello"}})
    assert (code, found["error"]["code"]) == (2, "usage")
    assert "swarmd network invite" in found["error"]["hint"]


def test_what_the_system_refuses_is_an_answer_as_well(monkeypatch, capsys, paths):
    def refuse(*_):
        raise PermissionError(13, "Permission denied", "/somewhere")

    monkeypatch.setattr("swarmd.offline.load_network", refuse)
    code, found = run(monkeypatch, capsys, paths, {"method": "network_show", "params": {}})
    assert (code, found["error"]["code"], found["error"]["message"]) == (1, "state", "/somewhere: Permission denied")


def test_a_network_that_cannot_be_made_leaves_no_folder_behind(tmp_path):
    paths = Paths(tmp_path / "new")
    with pytest.raises(UsageError, match="a network's name"):
        ask(paths, "network_init", name="BAD NAME")
    with pytest.raises(UsageError, match="neither an invite nor a file"):
        ask(paths, "network_join", invite="NOFILE")
    assert not paths.state_dir.exists()


def test_leaving_a_network_is_refused_with_the_command_that_does_it(tmp_path):
    paths = Paths(tmp_path)
    ask(paths, "network_init", name="home")
    with pytest.raises(UsageError) as caught:
        ask(paths, "network_init", name="away", again="swarmd network init away --force")
    assert caught.value.hint.startswith("swarmd network init away --force; it moves the old files aside")
