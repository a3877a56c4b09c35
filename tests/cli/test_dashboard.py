"""top: keys, the feed, a real terminal, and no terminal."""

from __future__ import annotations

import io
import json
import os
import pty
import signal
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, TextIO, TypeVar

import pytest

from swarmd.cli import dashboard, feed
from swarmd.cli.dashboard import Dashboard
from swarmd.cli.feed import Feed
from swarmd.cli.keys import split_keys
from swarmd.cli.main import main
from swarmd.cli.views import VIEWS
from swarmd.paths import Paths
from swarmd.protocols.control import RunView, as_json
from swarmd.protocols.errors import DaemonUnreachable, NotFound
from tests.cli import snapshots
from tests.cli.conftest import Cli
from tests.cli.fake_daemon import FakeDaemon, watched

pytestmark = pytest.mark.net
T = TypeVar("T")


def test_keys_are_characters_and_named_sequences() -> None:
    assert split_keys("q\t?") == ["q", "tab", "?"]
    assert split_keys("\x1b[Z\x1b[A1\x1b") == ["shift-tab", "1", "esc"]
    assert split_keys("\x1b[") == []


def test_each_key_does_what_the_help_says(paths: Paths) -> None:
    board = Dashboard(Feed(paths, None, 1.0))

    def after(*keys: str) -> tuple[str, bool, bool]:
        for key in keys:
            board.press(key)
        return board._screen.view, board._screen.help, board._screen.paused

    assert after("x") == ("overview", False, False)
    assert after("tab", "tab") == ("peers", False, False)
    assert after("shift-tab") == ("stages", False, False)
    assert after("?") == ("stages", True, False)
    assert after("4") == ("events", False, False)
    assert after("?", "esc", "p") == ("events", False, True)
    assert after("p", "tab") == ("overview", False, False)
    assert VIEWS == ("overview", "stages", "peers", "events")


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(feed.time, "monotonic", clock)
    return clock


def drain(source: Feed) -> None:
    while source.channel is not None:
        source.receive()


def test_a_feed_keeps_the_newest_snapshot_and_ends_with_the_run(daemon: FakeDaemon, paths: Paths, clock: Clock) -> None:
    source = Feed(paths, snapshots.RUN, 0.5)
    source.keep_up()
    drain(source)
    assert source.snapshot is not None
    assert source.snapshot.run is not None
    assert (source.snapshot.run.state, source.ended, source.notice) == ("done", True, "")
    clock.now = 100.0
    source.keep_up()
    assert source.channel is None
    assert source.receive() is False
    assert daemon.asked == [("watch", {"run": snapshots.RUN, "every": 0.5})]


def test_a_feed_without_a_daemon_fails_at_once(paths: Paths) -> None:
    with pytest.raises(DaemonUnreachable):
        Feed(paths, None, 0.5).keep_up()


def test_a_feed_passes_the_daemons_error_on(daemon: FakeDaemon, paths: Paths) -> None:
    def unknown(_: object) -> dict[str, Any]:
        raise NotFound("no such run")

    daemon.answers["watch"] = unknown
    source = Feed(paths, "zz", 0.5)
    source.keep_up()
    with pytest.raises(NotFound):
        source.receive()
    assert source.channel is None


def test_a_feed_waits_for_a_daemon_that_went_and_comes_back(paths: Paths, clock: Clock) -> None:
    from tests.cli.fake_daemon import fake_daemon

    source = Feed(paths, None, 0.5)
    with fake_daemon(paths) as first:
        first.answers["watch"] = lambda _: watched(snapshots.training())
        source.keep_up()
        drain(source)
    source.keep_up()
    assert "the daemon has gone" in source.notice
    assert source.snapshot is not None
    with fake_daemon(paths):
        source.keep_up()
        assert source.channel is None, "too early to try again"
        clock.now += feed.RETRY_SECONDS
        source.keep_up()
        assert source.notice == ""
        source.close()


def test_a_feed_says_when_nothing_has_come_for_long(daemon: FakeDaemon, paths: Paths, clock: Clock) -> None:
    held = threading.Event()

    def slow(_: object) -> Iterator[dict[str, Any]]:
        yield from watched(snapshots.training())
        held.wait(10)

    daemon.answers["watch"] = slow
    source = Feed(paths, None, 0.5)
    source.keep_up()
    source.receive()
    clock.now += 12
    assert source.notice == "no news for 12 s"
    held.set()
    source.close()


class Terminal:
    """A pseudo-terminal that stands for stdin and stdout, and what was drawn on it."""

    def __init__(self) -> None:
        self.master, self.slave = pty.openpty()
        termios.tcsetwinsize(self.slave, (30, 100))
        self.before = termios.tcgetattr(self.slave)
        self.screen = ""
        self._when: list[tuple[str, Callable[[], object]]] = []
        self.stdin = os.fdopen(os.dup(self.slave), "r")
        self.stdout = os.fdopen(os.dup(self.slave), "w")
        self.stderr = io.StringIO()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def when(self, seen: str, do: Callable[[], object]) -> None:
        """Act once this has been drawn; actions go in order."""
        self._when.append((seen, do))

    def run(self, act: Callable[[], T], *, stderr: TextIO | None = None) -> T:
        """Call it with this terminal in the place of the test's own streams."""
        with pytest.MonkeyPatch.context() as patch:
            for name, stream in (
                ("stdin", self.stdin),
                ("stdout", self.stdout),
                ("stderr", stderr or self.stderr),
            ):
                patch.setattr(sys, name, stream)
            return act()

    def type(self, keys: str) -> Callable[[], object]:
        return lambda: os.write(self.master, keys.encode())

    def close(self) -> None:
        """Once all was read."""
        if self.stdin.closed:
            return
        self.after = termios.tcgetattr(self.slave)
        for file in (self.stdin, self.stdout):
            file.close()
        os.close(self.slave)
        self._thread.join()
        os.close(self.master)

    def _read(self) -> None:
        seen_to = 0
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            self.screen += data.decode("utf-8", "ignore")
            while self._when and (at := self.screen.find(self._when[0][0], seen_to)) >= 0:
                seen_to = at
                self._when.pop(0)[1]()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


@pytest.fixture
def held_run(daemon: FakeDaemon) -> Iterator[FakeDaemon]:
    """A run that trains until the test ends."""
    over = threading.Event()

    def training(_: object) -> Iterator[dict[str, Any]]:
        yield from watched(snapshots.training())
        over.wait(10)

    daemon.answers["watch"] = training
    yield daemon
    over.set()


ENTER, LEAVE = "\x1b[?1049h", "\x1b[?1049l"


def assert_restored(terminal: Terminal) -> None:
    terminal.close()
    assert terminal.screen.index(ENTER) < terminal.screen.rindex(LEAVE)
    assert terminal.screen.rindex("\x1b[?25h") > terminal.screen.rindex("\x1b[?25l")
    assert terminal.after == terminal.before


def test_a_terminal_shows_the_views_and_is_restored_by_q(
    terminal: Terminal, held_run: FakeDaemon, paths: Paths
) -> None:
    terminal.when("tiny-stories", terminal.type("2"))
    terminal.when("why they are there", terminal.type("?"))
    terminal.when("This screen only watches", terminal.type("p"))
    terminal.when("paused", terminal.type("q"))
    assert terminal.run(lambda: main(["top", "--state-dir", str(paths.state_dir)])) == 0
    assert_restored(terminal)
    assert terminal.screen.index("connecting to the daemon") < terminal.screen.index("tiny-stories")
    assert "training step 240/1000" in terminal.stderr.getvalue()


def test_a_new_window_size_is_drawn_at_once(terminal: Terminal, held_run: FakeDaemon, paths: Paths) -> None:
    def shrink() -> None:
        termios.tcsetwinsize(terminal.slave, (15, 60))
        os.kill(os.getpid(), signal.SIGWINCH)

    terminal.when("tiny-stories", shrink)
    terminal.when("1-4", terminal.type("q"))
    terminal.run(lambda: dashboard.show(paths, None))
    assert_restored(terminal)


def test_sigterm_restores_the_terminal(terminal: Terminal, held_run: FakeDaemon, paths: Paths) -> None:
    terminal.when("tiny-stories", lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(SystemExit) as caught:
        terminal.run(lambda: dashboard.show(paths, None))
    assert caught.value.code == 143
    assert_restored(terminal)
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


def test_ctrl_c_restores_the_terminal(terminal: Terminal, held_run: FakeDaemon, paths: Paths) -> None:
    terminal.when("tiny-stories", lambda: os.kill(os.getpid(), signal.SIGINT))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # shells start background jobs deaf to it
    try:
        assert terminal.run(lambda: main(["top", "--state-dir", str(paths.state_dir)])) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    assert_restored(terminal)


def test_an_error_restores_the_terminal(terminal: Terminal, daemon: FakeDaemon, paths: Paths) -> None:
    daemon.answers["watch"] = lambda _: {"raw": b"nonsense\n"}
    assert terminal.run(lambda: main(["top", "--state-dir", str(paths.state_dir)])) == 1
    assert_restored(terminal)
    assert "not JSON" in terminal.stderr.getvalue()


@pytest.mark.parametrize(("last", "code"), [(snapshots.done(), 0), (snapshots.failed(), 4)])
def test_train_watch_opens_the_dashboard(
    terminal: Terminal, daemon: FakeDaemon, paths: Paths, last: RunView, code: int
) -> None:
    daemon.answers["watch"] = lambda _: watched(last)
    terminal.when("result", terminal.type("q"))
    command = ["train", "--resume", "ab", "--watch", "--state-dir", str(paths.state_dir)]
    assert terminal.run(lambda: main(command)) == code
    assert_restored(terminal)


def test_wait_on_a_terminal_is_a_bar(terminal: Terminal, daemon: FakeDaemon, paths: Paths) -> None:
    daemon.answers["watch"] = lambda _: watched(
        snapshots.preparing(), snapshots.training(), replace(snapshots.training(), step=241), snapshots.done()
    )
    command = ["train", "--resume", "ab", "--wait", "--state-dir", str(paths.state_dir)]
    assert terminal.run(lambda: main(command), stderr=terminal.stdout) == 0
    terminal.close()
    for text in ("probing", "240/1000", "12,342 tok/s", f"sample {snapshots.RUN[:8]}"):
        assert text in terminal.screen


def test_without_a_terminal_top_is_a_plain_line_per_update(cli: Cli, daemon: FakeDaemon) -> None:
    daemon.answers["watch"] = lambda _: watched(None, snapshots.training(), snapshots.done())
    lines = cli("top").out.splitlines()
    assert lines[0].endswith("2 peers, no job asks for a device of this class")
    assert lines[1].endswith("tiny-stories 7666f050 training step 240/1000 loss 2.3412  12,342 tok/s  6m52s left")
    assert lines[2].endswith("done")
    assert daemon.asked == [("watch", {"run": None, "every": 0.5})]


def test_top_as_json_is_a_snapshot_a_line(cli: Cli, daemon: FakeDaemon) -> None:
    objects = [json.loads(line) for line in cli("top", "ab", "--json", "--every", "2").out.splitlines()]
    assert [each["run"]["state"] for each in objects] == ["training", "done"]
    assert daemon.asked == [("watch", {"run": "ab", "every": 2.0})]
    assert len(cli("top", "--json", "--once").out.splitlines()) == 1


def test_top_once_is_one_frame(cli: Cli, daemon: FakeDaemon) -> None:
    lines = cli("top", "--once").out.splitlines()
    assert (len(lines), len(lines[0])) == (40, 100)
    daemon.answers["watch"] = lambda _: []
    assert cli("top", "--once").code == 3


def test_a_snapshot_is_the_same_after_its_journey() -> None:
    from swarmd.cli import answers

    sent = snapshots.snapshot(snapshots.training())
    assert answers.snapshot(json.loads(json.dumps(as_json(sent)))) == sent
