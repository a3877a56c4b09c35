"""``python -m swarmd``: settings first, then a node that says where it is, answers, and ends in order."""

from __future__ import annotations

import json
import logging
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from swarmd import __version__
from swarmd.__main__ import _greet, main
from swarmd.cli.client import call, stream
from swarmd.config import DEFAULT_METRICS_PORT
from swarmd.daemon import _reason
from swarmd.founding import Plan, found_network
from swarmd.identity import identity_of
from swarmd.log import configure_log
from swarmd.network import save_network
from swarmd.paths import Paths
from swarmd.protocols.errors import NotFound, StateError, UsageError
from tests.e2e.daemons import until
from tests.swarmd.test_device import VIEW


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    yield
    configure_log("info", stream=None)
    logging.getLogger("swarmd").propagate = True
    logging.getLogger("swarmd").setLevel(logging.NOTSET)


@pytest.fixture
def paths() -> Iterator[Paths]:
    """A state folder in which the device has been measured already."""
    folder = Path(tempfile.mkdtemp(prefix="swarmd-m-"))
    paths = Paths(folder)
    paths.probe.write_text(json.dumps({"key": f"{__version__}/cpu/1", "device": asdict(VIEW)}))
    yield paths
    shutil.rmtree(folder)


def flags(paths: Paths, *more: str) -> list[str]:
    return [
        "--state-dir", str(paths.state_dir), "--listen", "/ip4/127.0.0.1/tcp/0", "--tensor-host", "127.0.0.1",
        "--no-mdns", "--device", "cpu", "--threads", "1", "--name", "attic", *more,
    ]  # fmt: skip


def while_it_runs(paths: Paths, command: list[str], look: Callable[[], None]) -> int:
    """Run a node in this thread; another one looks at it and then tells it to end."""
    failures: list[BaseException] = []

    def other() -> None:
        try:
            until(lambda: paths.control.exists() and call(paths, "status")["device"])
            look()
        except BaseException as error:  # noqa: BLE001 - raised again in the test's own thread
            failures.append(error)
        finally:
            until(lambda: not paths.control.exists() or call(paths, "shutdown") == {"dropped": []})

    thread = threading.Thread(target=other)
    thread.start()
    code = main(command)
    thread.join()
    if failures:
        raise failures[0]
    return code


@pytest.mark.parametrize(
    ("flag", "value", "words", "hint"),
    [
        ("--accept", "everybody", "--accept: accept = 'everybody' will not do", "accept must be"),
        ("--metrics", "0.0.0.0:1", "can be reached by other machines", "metrics_public = true"),
        ("--price", "-1", "--price: price = -1 will not do", "price must be"),
    ],
)
def test_a_wrong_setting_ends_before_anything_begins(
    paths: Paths, capsys: pytest.CaptureFixture[str], flag: str, value: str, words: str, hint: str
) -> None:
    assert main(["--state-dir", str(paths.state_dir), flag, value]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert hint in said
    assert not paths.key.exists()


@pytest.mark.slow
@pytest.mark.net
def test_a_node_answers_everything_and_ends_when_told(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    seen: dict[str, Any] = {}

    def look() -> None:
        seen["status"], seen["config"] = call(paths, "status"), call(paths, "config")
        seen["empty"] = call(paths, "peers"), call(paths, "jobs")
        seen["watch"] = next(iter(stream(paths, "watch", idle=5.0)))
        for method in ("job", "stop", "resume"):
            with pytest.raises(NotFound):
                call(paths, method, run="abcd")
        with pytest.raises(UsageError):
            next(iter(stream(paths, "watch", idle=5.0, every="often")))
        until(lambda: metrics_address(paths))
        with urlopen(metrics_address(paths), timeout=5) as page:
            seen["metrics"] = page.read().decode()

    assert while_it_runs(paths, flags(paths, "--json", "--metrics", "127.0.0.1:0"), look) == 0
    ready = json.loads(capsys.readouterr().out)
    assert ready.keys() == {"pid", "addresses"}
    assert seen["status"]["addresses"] == ready["addresses"]
    assert seen["status"]["device"]["name"] == VIEW.name
    assert {"name": "name", "value": "attic", "origin": "--name"} in seen["config"]["settings"]
    assert seen["empty"] == ({"peers": []}, {"jobs": [], "hosted": []})
    assert seen["watch"]["run"] is None
    assert "swarmd_peers 0.0" in seen["metrics"]
    assert not paths.control.exists()


def metrics_address(paths: Paths) -> str:
    events = next(iter(stream(paths, "watch", idle=5.0)))["events"]
    said = [event["text"] for event in events if event["text"].startswith("metrics are at ")]
    return said[0].removeprefix("metrics are at ") if said else ""


@pytest.mark.slow
@pytest.mark.net
def test_a_person_is_told_what_to_type_next(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    with ExitStack() as stack:
        with suppress(OSError):  # somebody has the default port; if nobody has, we do
            stack.enter_context(socket.create_server(("127.0.0.1", DEFAULT_METRICS_PORT)))
        assert while_it_runs(paths, flags(paths), lambda: None) == 0
    out = capsys.readouterr().out
    assert f"swarmd is ready; its state is in {paths.state_dir}" in out
    assert "reach it with: swarmd up --bootstrap /ip4/127.0.0.1/tcp/" in out
    here = f"swarmd --state-dir {paths.state_dir}"
    assert f"next: {here} status, {here} train JOB.toml" in out
    assert out.endswith("swarmd has left the swarm in order\n")


def test_on_a_network_of_ones_own_a_person_is_told_of_invites(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    save_network(paths, found_network(identity_of(bytes(32)).peer, Plan(name="home")))
    _greet(("/ip4/192.0.2.7/tcp/4801/p2p/PEER",), paths)
    here = f"swarmd --state-dir {paths.state_dir}"
    assert f"it is on the network home; invite others with: {here} network invite" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.net
def test_a_metrics_port_that_was_chosen_must_be_free(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(flags(paths, "--metrics", f"127.0.0.1:{port}")) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"swarmd: cannot serve metrics on 127.0.0.1 port {port}")
    assert "--metrics off" in said
    assert not paths.control.exists()


@pytest.mark.slow
@pytest.mark.net
def test_a_tensor_port_that_is_taken_is_told_in_words(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(flags(paths, "--tensor-port", str(port))) == 1
    said = capsys.readouterr().err
    assert said.startswith("swarmd: ")
    assert str(port) in said


def ending_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nodes end at once, and so."""

    async def run_node(_: object) -> None:
        raise error

    monkeypatch.setattr("swarmd.daemon.run_node", run_node)


DAMAGED = StateError("node.db is damaged", hint="move it away")
FULL = OSError(28, "No space left on device", "node.db")


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (
            ExceptionGroup("", [ExceptionGroup("", [DAMAGED]), FULL]),
            1,
            "swarmd: node.db is damaged\n  next: move it away\n",
        ),
        (ExceptionGroup("", [FULL, UsageError("no", hint="yes")]), 2, "swarmd: no\n  next: yes\n"),
        (
            ExceptionGroup("", [ExceptionGroup("", [FULL])]),
            1,
            "swarmd: node.db: No space left on device\n  next: swarmd --state-dir FOLDER doctor checks this machine\n",
        ),
        (KeyboardInterrupt(), 130, ""),
        (BaseExceptionGroup("", [KeyboardInterrupt(), DAMAGED]), 130, ""),
    ],
)
def test_what_ends_a_node_is_told_in_two_lines(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
    error: BaseException, code: int, said: str,
) -> None:  # fmt: skip
    ending_with(error, monkeypatch)
    assert main(flags(paths)) == code
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", said.replace("FOLDER", str(paths.state_dir)))
    assert not paths.log.exists()


def test_a_fault_of_our_own_is_told_in_two_lines_and_kept_in_the_log(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending_with(ExceptionGroup("", [DAMAGED, ValueError("a mistake of ours")]), monkeypatch)
    assert main(flags(paths)) == 1
    said = capsys.readouterr().err
    assert said.startswith("swarmd: a fault in swarmd itself: ValueError: a mistake of ours\n  next: ")
    assert str(paths.log) in said
    assert "Traceback" not in said
    assert "Traceback" in paths.log.read_text()
    assert paths.log.stat().st_mode & 0o077 == 0


def test_with_log_level_debug_the_traceback_is_shown_too(
    paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    ending_with(ExceptionGroup("", [DAMAGED]), monkeypatch)
    assert main(flags(paths, "--log-level", "debug")) == 1
    said = capsys.readouterr().err
    assert "Traceback" in said
    assert said.endswith("swarmd: node.db is damaged\n  next: move it away\n")


@pytest.mark.slow
def test_a_damaged_database_ends_a_start_in_two_lines(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    paths.database.write_bytes(b"no database " * 1000)
    assert main(flags(paths)) == 1
    said = capsys.readouterr().err
    assert "is damaged" in said
    assert "Traceback" not in said
    assert len([line for line in said.splitlines() if line.startswith(("swarmd:", "  next:"))]) == 2


def test_a_check_reads_every_file_and_makes_none(paths: Paths, capsys: pytest.CaptureFixture[str]) -> None:
    check = ["--state-dir", str(paths.state_dir), "--check"]
    assert main(check) == 0
    assert json.loads(capsys.readouterr().out) == {}
    paths.key.write_text("garbage")
    paths.key.chmod(0o600)
    paths.network.write_text("name = 7\n")
    paths.database.write_bytes(b"no database " * 1000)
    before = sorted(paths.state_dir.iterdir())
    assert main(check) == 0
    found = json.loads(capsys.readouterr().out)
    assert [name for name, problem in found.items() if problem["message"] and problem["hint"]] == [
        "key",
        "network",
        "database",
    ]
    assert sorted(paths.state_dir.iterdir()) == before


@pytest.mark.parametrize(
    ("group", "reason"),
    [
        (BaseExceptionGroup("", [ExceptionGroup("", [StateError("first")]), StateError("second")]), "first"),
        (BaseExceptionGroup("", [StateError("ours"), ValueError("a mistake of ours")]), None),
        (BaseExceptionGroup("", [KeyboardInterrupt()]), None),
    ],
)
def test_only_a_failure_with_words_is_told_without_a_traceback(
    group: BaseExceptionGroup[BaseException], reason: str | None
) -> None:
    found = _reason(group)
    assert (found and found.message) == reason
