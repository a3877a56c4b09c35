"""config, doctor, and starting a daemon that stays."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from swarmd.cli import check_files, check_machine, check_network, check_node, detach, doctor
from swarmd.cli.finding import FAIL, OK, WARN, Finding, ok
from swarmd.config import Config
from swarmd.identity import load_or_create_identity
from swarmd.network import load_or_create_network
from swarmd.paths import Paths
from swarmd.protocols.control import as_json
from swarmd.protocols.errors import StateError, TimedOut
from swarmd.schema import NODE_SCHEMA
from swarmd.sqlitefile import open_database
from tests.cli import snapshots
from tests.cli.conftest import Cli
from tests.cli.fake_daemon import FakeDaemon, fake_daemon

pytestmark = pytest.mark.net


def test_config_show_asks_the_running_daemon(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("config", "show")
    assert "price" in said.out
    assert "line 2" not in said.out
    assert said.err == ""
    assert "config.toml, line 2" in cli("config", "show", "--origin").out
    shown = json.loads(cli("config", "show", "--json").out)
    assert shown["running"] is True
    assert shown["settings"] == [{"name": "price", "value": 3, "origin": "config.toml, line 2"}]


def test_config_show_without_a_daemon_reads_the_file(cli: Cli, paths: Paths) -> None:
    paths.config.write_text("price = 7\n")
    said = cli("config", "show", "--origin")
    assert "config.toml, line 1" in said.out
    assert "no daemon is running" in said.err
    assert json.loads(cli("config", "show", "--json").out)["running"] is False


def test_config_path_and_check(cli: Cli, paths: Paths) -> None:
    assert cli("config", "path").out == f"{paths.config}\n"
    assert json.loads(cli("config", "path", "--json").out)["exists"] is False
    assert "every setting has its default" in cli("config", "check").err
    paths.config.write_text("price = 7\n")
    assert cli("config", "check").err == f"{paths.config}: ok\n"
    assert json.loads(cli("config", "check", "--json").out)["ok"] is True
    paths.config.write_text("prise = 7\n")
    wrong = cli("config", "check")
    assert wrong.code == 2
    assert "price" in wrong.err


@pytest.fixture
def quick_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_machine, "torch", lambda: ok("torch", "2.13.0 on the CPU"))


def levels(found: Iterator[Finding]) -> dict[str, str]:
    return {finding.name: finding.level for finding in found}


@pytest.mark.usefixtures("quick_torch")
def test_doctor_prints_a_line_per_check_and_what_cures_it(cli: Cli, paths: Paths) -> None:
    paths.config.write_text("tensor_port = 0\nlisten = ['/ip4/127.0.0.1/tcp/0']\n")
    said = cli("doctor")
    assert said.code == 0
    assert "✔ python" in said.out
    assert "! daemon         no daemon is running" in said.out
    assert "fix: start one with: swarmd up" in said.out
    assert "0 failed" in said.err
    assert "\x1b" not in said.out


@pytest.mark.usefixtures("quick_torch")
def test_doctor_fails_when_a_check_does(cli: Cli, paths: Paths) -> None:
    os.chmod(paths.state_dir, 0o755)
    said = cli("doctor", "--json")
    assert said.code == 1
    found = json.loads(said.out)
    assert found["ok"] is False
    folder = next(check for check in found["checks"] if check["name"] == "state folder")
    assert folder["level"] == FAIL
    assert folder["fix"] == f"chmod 700 {paths.state_dir}"


@pytest.mark.usefixtures("quick_torch")
def test_doctor_with_a_running_daemon_of_another_version(daemon: FakeDaemon, paths: Paths) -> None:
    daemon.answers["status"] = lambda _: as_json(snapshots.node("0.0.1"))
    os.chmod(paths.control, 0o600)
    found = levels(doctor.findings(paths))
    assert (found["daemon"], found["version"], found["ports"]) == (OK, WARN, OK)


@pytest.mark.usefixtures("quick_torch")
def test_doctor_with_wrong_settings_and_a_daemon_of_nonsense(daemon: FakeDaemon, paths: Paths) -> None:
    paths.config.write_text("prise = 7\n")
    daemon.answers["status"] = lambda _: {}
    found = levels(doctor.findings(paths))
    assert (found["settings"], found["daemon"]) == (FAIL, FAIL)
    assert "version" not in found
    assert "mdns" not in found


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10, 9), FAIL), ((3, 11, 0), OK), ((3, 13, 1), OK), ((3, 14, 0), FAIL)]
)
def test_python(version: tuple[int, ...], level: str) -> None:
    assert check_machine.python(version).level == level


@pytest.mark.parametrize(
    ("version", "clauses", "meets"),
    [
        ("2.13.0+cpu", "==2.13.0", True),
        ("2.13", "==2.13.0", True),
        ("2.13.1", "==2.13.0", False),
        ("0.35.0", "<0.36,>=0.35", True),
        ("0.36.0", "<0.36,>=0.35", False),
        ("1.9", ">=1.10", False),
        ("7.1", "", True),
        ("7.1", "!=7.0", True),
    ],
)
def test_versions_meet_their_clauses(version: str, clauses: str, meets: bool) -> None:
    assert check_machine.satisfies(version, clauses.split(",")) is meets


def test_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    assert check_machine.packages().level == OK
    assert check_machine.packages("no-such-distribution").level == WARN
    assert check_machine.requirement_problem("rich>=99") != ""
    assert check_machine.requirement_problem("no-such-distribution>=1") == "no-such-distribution is missing"
    assert check_machine.requirement_problem('no-such>=1; extra == "dev"') == ""
    monkeypatch.setattr("importlib.metadata.requires", lambda _: ["rich<1", "typer"])
    wrong = check_machine.packages()
    assert (wrong.level, "<1 is needed" in wrong.text) == (FAIL, True)


def test_torch_that_cannot_be_imported() -> None:
    broken = [sys.executable, "-c", "raise ImportError('libcuda.so.1')"]
    found = check_machine.torch(broken)
    assert (found.level, found.text) == (FAIL, "cannot be imported: ImportError: libcuda.so.1")
    assert "ended with 3" in check_machine.torch([sys.executable, "-c", "raise SystemExit(3)"]).text


def test_torch_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(check_machine, "TORCH_SECONDS", 0.01)
    hanging = check_machine.torch([sys.executable, "-c", "import time; time.sleep(60)"])
    assert "does not start within" in hanging.text


def test_torch_that_answers() -> None:
    facts = '{"version": "2.13.0", "built_for": "13.0", "names": ["RTX 3060"]}'
    assert check_machine.torch([sys.executable, "-c", f"print('{facts}')"]) == ok("torch", "2.13.0 on RTX 3060")


@pytest.mark.parametrize(
    ("built_for", "driver", "level"),
    [(None, False, OK), ("13.0", False, OK), (None, True, WARN), ("13.0", True, WARN)],
)
def test_a_driver_without_a_gpu_in_torch_is_worth_a_look(built_for: str | None, driver: bool, level: str) -> None:
    facts: dict[str, object] = {"version": "2.13.0", "built_for": built_for, "names": []}
    assert check_machine.torch_finding(facts, driver).level == level


@pytest.mark.parametrize(("free", "level"), [(1 << 20, FAIL), (5 << 30, WARN), (50 << 30, OK)])
def test_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, level: str) -> None:
    class Usage:
        def __init__(self) -> None:
            self.free = free

    monkeypatch.setattr("shutil.disk_usage", lambda _: Usage())
    assert check_machine.disk(tmp_path / "not" / "made" / "yet").level == level


def test_a_clock_before_the_newest_file_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_text("")
    written = (tmp_path / "node.db").stat().st_mtime
    assert check_machine.clock(tmp_path, written + 1).level == OK
    assert check_machine.clock(tmp_path, written - 3600).level == FAIL
    assert check_machine.clock(tmp_path / "none").level == OK


def test_the_key_must_be_a_plain_file_of_ours_alone(paths: Paths) -> None:
    assert check_node.key(paths).level == OK
    paths.key.write_text("")
    os.chmod(paths.key, 0o600)
    assert check_node.key(paths).level == OK
    os.chmod(paths.key, 0o644)
    assert check_node.key(paths).fix == f"chmod 600 {paths.key}"
    paths.key.unlink()
    paths.key.symlink_to("/etc/passwd")
    assert "not a plain file" in check_node.key(paths).text
    inside_a_file = Paths(paths.state_dir / "file")
    inside_a_file.state_dir.write_text("")
    assert check_node.key(inside_a_file).level == FAIL


def test_a_missing_state_folder_is_made_later(paths: Paths) -> None:
    assert check_node.state_folder(Paths(paths.state_dir / "none")).level == OK


def test_a_control_socket_open_to_others(daemon: FakeDaemon, paths: Paths) -> None:
    os.chmod(paths.control, 0o666)
    assert check_node.socket(paths, snapshots.node()).level == FAIL


def test_ports_that_are_taken_are_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        busy = check_network.port_finding("127.0.0.1", port)
        assert check_network.contact_finding(f"/ip4/127.0.0.1/tcp/{port}/p2p/x").level == OK
    assert (busy.level, f"port {port}" in busy.text) == (FAIL, True)
    assert check_network.port_finding("127.0.0.1", port).level == OK
    assert check_network.contact_finding(f"/ip4/127.0.0.1/tcp/{port}").level == WARN


def test_bootstrap_addresses() -> None:
    assert [finding.level for finding in check_network.bootstrap((), mdns=True)] == [OK]
    assert [finding.level for finding in check_network.bootstrap(("/ip4/1.2.3.4/udp/9",), mdns=True)] == [WARN]
    assert check_network.host_port("/dns4/a.example/tcp/4801/p2p/Qm") == ("a.example", 4801)
    assert check_network.host_port("/ip4/1.2.3.4/tcp/99999") is None


def test_without_mdns_nobody_is_found_on_the_local_network() -> None:
    (alone,) = check_network.bootstrap((), mdns=False)
    assert (alone.level, "found without" in alone.text) == (WARN, False)
    assert "mdns is off" in alone.text


def test_the_tensor_port_is_looked_for_where_it_will_be(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[str] = []
    monkeypatch.setattr(check_network, "port_finding", lambda host, _: looked.append(host) or ok("port", host))
    list(check_network.ports(Config(listen=("/ip4/127.0.0.1/tcp/0",)), running=False))
    list(check_network.ports(Config(), running=False))
    assert looked == ["127.0.0.1", "127.0.0.1", "0.0.0.0", "0.0.0.0"]


@pytest.fixture
def made(paths: Paths) -> Paths:
    """A state folder as a start leaves it."""
    load_or_create_identity(paths)
    load_or_create_network(paths)
    open_database(paths.database, NODE_SCHEMA).close()
    return paths


@pytest.mark.slow
def test_files_as_a_start_leaves_them_are_all_well_and_stay_as_they_are(made: Paths) -> None:
    before = sorted(path.name for path in made.state_dir.iterdir())
    assert levels(check_files.findings(made)) == {"key": OK, "network": OK, "database": OK}
    assert sorted(path.name for path in made.state_dir.iterdir()) == before


@pytest.mark.slow
def test_files_that_a_daemon_has_open_can_be_checked(made: Paths) -> None:
    held = open_database(made.database, NODE_SCHEMA)
    assert levels(check_files.findings(made))["database"] == OK
    held.close()


@pytest.mark.slow
@pytest.mark.usefixtures("quick_torch")
def test_doctor_fails_on_every_file_that_a_start_would_fail_on(cli: Cli, made: Paths) -> None:
    for place in (made.key, made.database, made.network, made.config):
        place.write_bytes(b"garbage \xff\x00" * 100)
    said = cli("doctor", "--json")
    assert said.code == 1
    found = [check for check in json.loads(said.out)["checks"] if check["level"] == FAIL]
    assert [check["name"] for check in found] == ["key", "network", "database", "settings"]
    assert all(str(made.state_dir) in check["text"] and check["fix"] for check in found)


@pytest.mark.slow
def test_another_programs_database_is_not_ours(made: Paths) -> None:
    made.database.unlink()
    other = sqlite3.connect(made.database)
    other.execute("CREATE TABLE mine (x)")
    other.close()
    (found,) = (finding for finding in check_files.findings(made) if finding.name == "database")
    assert (found.level, "not swarmd's" in found.text) == (FAIL, True)


def test_a_folder_without_files_has_none_to_check(paths: Paths) -> None:
    assert list(check_files.findings(paths)) == []


def test_files_whose_check_says_nothing_are_to_look_at(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    paths.key.write_text("")
    monkeypatch.setattr("swarmd.cli.spawn.module_command", lambda *_: ["true"])
    assert levels(check_files.findings(paths)) == {"files": WARN}


def test_config_show_says_sizes_with_their_unit(cli: Cli, paths: Paths) -> None:
    said = cli("config", "show").out
    assert "20.0 GiB" in said
    rows = json.loads(cli("config", "show", "--json").out)["settings"]
    assert {"name": "disk_quota", "value": 20 << 30, "origin": "default"} in rows


def test_mdns_that_the_system_forbids(monkeypatch: pytest.MonkeyPatch) -> None:
    def bind(*_: object) -> None:
        raise PermissionError(13, "denied")

    assert check_network.mdns(False).text == "off"
    monkeypatch.setattr("socket.socket.bind", bind)
    assert check_network.mdns(True).level == WARN


class Child:
    """A daemon's process: answers at the first question, or has ended."""

    def __init__(self, code: int | None, says: bytes = b"") -> None:
        self.code, self.says, self.command = code, says, [""]

    def __call__(self, command: list[str], *, stdout: object, **options: object) -> Child:
        self.command = command
        assert options["start_new_session"] is True
        stdout.write(self.says)  # type: ignore[attr-defined]
        stdout.flush()  # type: ignore[attr-defined]
        return self

    def poll(self) -> int | None:
        return self.code


def test_up_detach_waits_for_the_daemon_and_names_its_peer(
    cli: Cli, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    child = Child(None)
    monkeypatch.setattr(subprocess, "Popen", child)
    monkeypatch.setattr(detach, "_refuse_second", lambda _: None)
    with fake_daemon(paths):
        said = cli("up", "--detach", "--device", "cpu")
    assert (said.code, said.out) == (0, snapshots.PEERS[0] + "\n")
    assert "process 4321" in said.err
    assert child.command[-1] == "--device=cpu"


def test_up_detach_next_to_a_running_daemon_is_refused(cli: Cli, daemon: FakeDaemon) -> None:
    said = cli("up", "--detach")
    assert said.code == 1
    assert "running already" in said.err


def test_up_detach_shows_why_the_daemon_ended(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", Child(2, b"swarmd: port 4801 is taken\n"))
    with pytest.raises(StateError, match="port 4801 is taken"):
        detach.start_behind(paths, [])


def test_up_detach_shows_the_daemons_last_words_and_not_its_log(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    said = b"12:00:00 info a line\nswarmd: port 4801 is taken\n  next: choose another\n"
    monkeypatch.setattr(subprocess, "Popen", Child(2, said))
    with pytest.raises(StateError, match=r"^the daemon ended at once:\nswarmd: port 4801 is taken\n  next: choose"):
        detach.start_behind(paths, [])


def test_up_detach_shows_only_what_this_start_said_and_keeps_the_log_small(
    paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(subprocess, "Popen", Child(2, b"second\n"))
    monkeypatch.setattr(detach, "LOG_BYTES", 10)
    paths.log.write_bytes(b"first\n")
    with pytest.raises(StateError, match="at once:\nsecond"):
        detach.start_behind(paths, [])
    assert paths.log.read_bytes() == b"first\nsecond\n"
    with pytest.raises(StateError):
        detach.start_behind(paths, [])
    assert paths.log.read_bytes() == b"second\n"
    assert paths.log.with_name("swarmd.log.1").read_bytes() == b"first\nsecond\n"


def test_up_detach_does_not_wait_for_ever(paths: Paths, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "Popen", Child(None))
    monkeypatch.setattr(detach, "START_SECONDS", 0.01)
    monkeypatch.setattr(detach, "_POLL_SECONDS", 0.005)
    with pytest.raises(TimedOut):
        detach.start_behind(paths, [])


def test_down_does_not_wait_for_ever(daemon: FakeDaemon, paths: Paths) -> None:
    import fcntl

    with open(paths.lock, "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(TimedOut, match="still runs"):
            detach.stop(paths, 0.2)
