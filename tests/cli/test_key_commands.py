"""``swarmd key``: show, back up, restore, and where a passphrase comes from."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swarmd.cli import offline
from swarmd.identity import load_or_create_identity
from swarmd.paths import Paths
from tests.cli import snapshots
from tests.cli.conftest import Cli
from tests.cli.fake_daemon import FakeDaemon
from tests.cli.folder import in_this_process

WORDS = "correct horse battery staple"


@pytest.fixture(autouse=True)
def same_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(offline, "ask_folder", in_this_process)


@pytest.fixture
def secret(tmp_path: Path) -> str:
    (tmp_path / "passphrase").write_text(f"{WORDS}\n")
    return str(tmp_path / "passphrase")


def test_show_prints_the_peer_id_alone(cli: Cli, paths: Paths) -> None:
    me = load_or_create_identity(paths).peer
    assert cli("key", "show").out == f"{me}\n"
    assert json.loads(cli("key", "show", "--json").out) == {"v": 1, "peer": me}


def test_show_without_a_key_says_how_to_get_one(cli: Cli) -> None:
    done = cli("key", "show")
    assert (done.code, "swarmd up" in done.err) == (1, True)


@pytest.mark.slow
def test_a_node_moves_to_another_folder(cli: Cli, paths: Paths, tmp_path: Path, secret: str) -> None:
    me = load_or_create_identity(paths).peer
    file = tmp_path / "node.backup"
    done = cli("key", "backup", str(file), "--passphrase-file", secret)
    assert (done.code, done.out) == (0, f"{file}\n")
    assert "keep them apart" in done.err
    done = cli("--state-dir", str(tmp_path / "new"), "key", "restore", str(file), "--passphrase-file", secret)
    assert (done.code, done.out) == (0, f"{me}\n")
    assert "ask the network for this account's newest entry before it signs anything" in done.err
    assert f"swarmd --state-dir {tmp_path / 'new'} up" in done.err


@pytest.mark.slow
def test_both_speak_json(cli: Cli, paths: Paths, tmp_path: Path, secret: str) -> None:
    me = load_or_create_identity(paths).peer
    file = str(tmp_path / "node.backup")
    made = json.loads(cli("key", "backup", file, "--passphrase-file", secret, "--json").out)
    assert made == {"v": 1, "peer": me, "file": file, "account": False}
    words = ("--state-dir", str(tmp_path / "new"), "key", "restore", file, "--passphrase-file", secret, "--json")
    found = json.loads(cli(*words).out)
    assert (found["peer"], found["name"], found["account"]) == (me, "main", False)
    assert found["created"] > 0


def test_a_backup_beside_the_daemon_takes_along_where_peers_are(
    cli: Cli, daemon: FakeDaemon, tmp_path: Path, secret: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = {}
    monkeypatch.setattr(offline, "ask_folder", lambda _, method, **params: asked.update(params) or {"file": "f"})
    assert cli("key", "backup", str(tmp_path / "f"), "--passphrase-file", secret).code == 0
    peers = [snapshots.peer(index) for index in range(3)]
    assert asked["contacts"] == [f"{peer.addresses[0]}/p2p/{peer.peer}" for peer in peers if peer.addresses]


def test_a_key_that_is_there_is_not_overwritten(cli: Cli, paths: Paths, tmp_path: Path, secret: str) -> None:
    load_or_create_identity(paths)
    before = paths.key.read_bytes()
    done = cli("key", "restore", str(tmp_path / "node.backup"), "--passphrase-file", secret)
    assert (done.code, "holds a node's files already: key.pem" in done.err) == (1, True)
    assert paths.key.read_bytes() == before


@pytest.mark.slow
def test_the_passphrase_is_asked_twice_for_a_backup(
    cli: Cli, paths: Paths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_or_create_identity(paths)
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True)
    monkeypatch.setattr("typer.prompt", lambda text, **how: asked.append((text, how)) or WORDS)
    assert cli("key", "backup", str(tmp_path / "node.backup")).code == 0
    assert asked == [("passphrase", {"hide_input": True, "confirmation_prompt": True, "err": True})]


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_without_a_terminal_a_file_is_needed(cli: Cli, tmp_path: Path, command: str) -> None:
    done = cli("key", command, str(tmp_path / "node.backup"))
    assert (done.code, "--passphrase-file FILE" in done.err) == (2, True)


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"short", "a passphrase has 8 to 1024 bytes"),
        (b"", "a passphrase has 8 to 1024 bytes"),
        (b"x" * 5000, "is over 4096 bytes"),
        (b"\xff" * 20, "is not a text"),
        (None, "cannot read"),
    ],
)
def test_a_passphrase_file_that_will_not_do_is_refused(
    cli: Cli, paths: Paths, tmp_path: Path, content: bytes | None, says: str
) -> None:
    load_or_create_identity(paths)
    if content is not None:
        (tmp_path / "passphrase").write_bytes(content)
    done = cli("key", "backup", str(tmp_path / "node.backup"), "--passphrase-file", str(tmp_path / "passphrase"))
    assert (done.code, says in done.err) == (2, True)
    assert done.err.count("swarmd:") == 1


def test_a_file_that_is_no_backup_is_refused(cli: Cli, tmp_path: Path, secret: str) -> None:
    done = cli("key", "restore", secret, "--passphrase-file", secret)
    assert (done.code, "not a swarmd backup" in done.err) == (2, True)
