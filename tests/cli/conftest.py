"""A command line in this process, with a state folder of its own and a daemon that answers by a table."""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swarmd.cli.main import main
from swarmd.paths import Paths
from tests.cli.fake_daemon import FakeDaemon, fake_daemon


@dataclass(frozen=True)
class Outcome:
    code: int
    out: str
    err: str


Cli = Callable[..., Outcome]


@pytest.fixture(autouse=True)
def plain_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The same surroundings everywhere: UTC, no colour settings, our excepthook not leaking out."""
    for name in ("NO_COLOR", "SWARMD_STATE_DIR", "COLUMNS"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def paths() -> Iterator[Paths]:
    """A state folder whose path is short enough to hold a socket."""
    folder = Path(tempfile.mkdtemp(prefix="swarmd-cli-"))
    yield Paths(folder)
    shutil.rmtree(folder)


@pytest.fixture
def daemon(paths: Paths) -> Iterator[FakeDaemon]:
    with fake_daemon(paths) as running:
        yield running


@pytest.fixture
def cli(paths: Paths, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Cli:
    """Run one command on the state folder, which the environment names."""
    monkeypatch.setenv("SWARMD_STATE_DIR", str(paths.state_dir))

    def run(*words: str) -> Outcome:
        code = main(words)
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return run


class Became(Exception):
    """Stands for the process that a command replaces itself with."""

    def __init__(self, command: list[str]) -> None:
        super().__init__(command)
        self.command = command


@pytest.fixture
def became(monkeypatch: pytest.MonkeyPatch) -> type[Became]:
    """Replacing the process raises Became instead."""

    def execv(program: str, command: list[str]) -> Any:
        assert program == sys.executable
        raise Became(command)

    monkeypatch.setattr("os.execv", execv)
    return Became
