"""Exit codes, errors in words and as JSON, options that stand anywhere, and output without a terminal."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from swarmd import __version__
from swarmd.cli.main import hoist, main
from swarmd.cli.output import EXIT_CODES
from swarmd.paths import Paths
from swarmd.protocols.errors import (
    DaemonUnreachable,
    NotFound,
    PeerLost,
    ProtocolViolation,
    Refused,
    RunFailed,
    StateError,
    SwarmdError,
    TimedOut,
    UsageError,
)
from tests.cli.conftest import Cli
from tests.cli.fake_daemon import Answer, FakeDaemon

ERRORS = [
    (SwarmdError, 1),
    (StateError, 1),
    (ProtocolViolation, 1),
    (UsageError, 2),
    (DaemonUnreachable, 3),
    (PeerLost, 4),
    (RunFailed, 4),
    (Refused, 5),
    (NotFound, 6),
    (TimedOut, 7),
]


def raising(error: BaseException) -> Answer:
    def answer(_: object) -> dict[str, object]:
        raise error

    return answer


@pytest.mark.net
@pytest.mark.parametrize(("kind", "code"), ERRORS)
def test_every_error_of_the_daemon_has_its_exit_code(
    cli: Cli, daemon: FakeDaemon, kind: type[SwarmdError], code: int
) -> None:
    daemon.answers["status"] = raising(kind("it is so", hint="do this"))
    assert code in EXIT_CODES
    said = cli("status")
    assert (said.code, said.out) == (code, "")
    assert said.err == "swarmd: it is so\n  next: do this\n"
    as_json = cli("status", "--json")
    assert (as_json.code, as_json.err) == (code, "")
    fields = {"code": kind.code, "message": "it is so", "hint": "do this", "exit_code": code}
    assert json.loads(as_json.out) == {"v": 1, "error": fields}


@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("id",),
        ("peers",),
        ("gpus",),
        ("down",),
        ("jobs", "ls"),
        ("jobs", "show", "ab"),
        ("jobs", "logs", "ab"),
        ("jobs", "stop", "ab"),
        ("jobs", "fetch", "ab", "dir"),
        ("train", "--resume", "ab"),
        ("top",),
        ("top", "--once"),
        ("sample", "ab", "text"),
        ("eval", "ab"),
    ],
)
def test_without_a_daemon_every_command_says_how_to_start_one(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words)
    assert (said.code, said.out) == (3, "")
    assert "no daemon is running" in said.err
    assert "swarmd up" in said.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("statsu",), "Did you mean 'status'?"),
        (("status", "--frob"), "No such option: --frob"),
        (("up", "--price", "dear"), "--price"),
        (("up", "--accept", "nobody"), "--accept"),
        (("jobs", "show"), "RUN"),
        (("train",), "name either a job file or --resume RUN"),
        (("train", "a.toml", "--resume", "ab"), "name either a job file or --resume RUN"),
        (("train", "a.toml", "--out", "d"), "--out goes with --local"),
        (("train", "--resume", "ab", "--local"), "--local has none"),
        (("train", "a.toml", "--local"), "--local needs a folder"),
    ],
)
def test_wrong_usage_exits_with_2_and_says_what_is_wrong(cli: Cli, words: tuple[str, ...], message: str) -> None:
    said = cli(*words)
    assert said.code == 2
    assert message in said.err
    assert "next:" in said.err
    as_json = cli(*words, "--json")
    assert as_json.code == 2
    assert json.loads(as_json.out)["error"]["code"] == "usage"


def test_the_bare_command_prints_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    assert "Usage: swarmd" in capsys.readouterr().out


@pytest.mark.parametrize("words", [("jobs",), ("config",)])
def test_a_group_alone_prints_its_help(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words)
    assert said.code == 2
    assert "Usage: swarmd" in said.out
    assert said.err == ""


@pytest.mark.parametrize("words", [(), ("up",), ("train",), ("jobs", "logs"), ("top",), ("demo",)])
def test_help_exits_with_0(cli: Cli, words: tuple[str, ...]) -> None:
    said = cli(*words, "--help")
    assert said.code == 0
    assert "Usage: swarmd" in said.out


def test_version() -> None:
    assert main(["--version"]) == 0


def test_options_for_every_command_may_stand_after_it() -> None:
    assert hoist(["status", "--debug", "--json"]) == ["--debug", "status", "--json"]
    assert hoist(["status", "--state-dir", "d"]) == ["--state-dir", "d", "status"]
    assert hoist(["status", "--state-dir=d", "--no-color"]) == ["--state-dir=d", "--no-color", "status"]
    assert hoist(["status", "--state-dir"]) == ["--state-dir", "status"]
    assert hoist(["sample", "r", "--", "--debug"]) == ["sample", "r", "--", "--debug"]


def test_json_may_stand_before_the_command_s_name_too(cli: Cli, daemon: FakeDaemon) -> None:
    assert hoist(["--json", "wallet", "balance"]) == ["wallet", "balance", "--json"]
    assert hoist(["wallet", "--json", "pay", "p", "--", "-1"]) == ["wallet", "pay", "p", "--json", "--", "-1"]
    for words in (("--json", "jobs", "ls"), ("jobs", "--json", "ls"), ("jobs", "ls", "--json")):
        assert json.loads(cli(*words).out)["v"] == 1


def test_debug_lets_the_traceback_through(paths: Paths) -> None:
    with pytest.raises(DaemonUnreachable):
        main(["status", "--debug", "--state-dir", str(paths.state_dir)])


def test_no_color_reaches_everything_by_the_environment(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    cli("config", "path", "--no-color")
    import os

    assert os.environ["NO_COLOR"] == "1"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [(OSError(28, "No space left"), 1, "No space left"), (KeyboardInterrupt(), 130, "")],
)
def test_the_systems_errors_have_exit_codes_too(
    cli: Cli, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int, text: str
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("swarmd.cli.client.call", fails)
    said = cli("status")
    assert said.code == code
    assert text in said.err


@pytest.mark.net
@pytest.mark.slow
def test_a_reader_that_goes_away_is_no_failure(daemon: FakeDaemon, paths: Paths) -> None:
    command = f"{sys.executable} -c 'import sys; from swarmd.cli.main import main; sys.exit(main())'"
    script = f"set -o pipefail; {command} --state-dir {paths.state_dir} status | true"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)


@pytest.mark.slow
def test_a_fault_of_our_own_is_two_lines_and_no_traceback() -> None:
    script = "import swarmd.cli.client as c; c.call = None; from swarmd.cli.main import main; main(['status'])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.startswith("swarmd: a fault in swarmd itself: TypeError")
    assert "--debug" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_command_imports_nothing_heavy() -> None:
    script = (
        "import sys; from swarmd.cli.main import main; main(['status', '--state-dir', '/nowhere'])\n"
        "print(sorted({'torch', 'libp2p', 'trio', 'numpy', 'rich'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.net
@pytest.mark.parametrize(
    "words",
    [
        ("status",),
        ("peers",),
        ("gpus",),
        ("jobs", "ls"),
        ("jobs", "show", "a"),
        ("jobs", "logs", "a"),
        ("top", "--once"),
    ],
)
def test_nothing_but_plain_text_reaches_a_pipe(cli: Cli, daemon: FakeDaemon, words: tuple[str, ...]) -> None:
    said = cli(*words)
    assert said.code == 0
    assert "\x1b" not in said.out + said.err


@pytest.mark.slow
def test_the_version_is_printed_by_the_installed_command() -> None:
    script = "import sys; from swarmd.cli.main import main; sys.exit(main())"
    done = subprocess.run([sys.executable, "-c", script, "--version"], capture_output=True, text=True)
    assert done.stdout == f"swarmd {__version__}\n"
