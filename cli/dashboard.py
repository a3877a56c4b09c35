"""``swarmd top``: one loop that waits for keys, the daemon and the window's size, and draws.

One thread. The terminal comes back as it was on every way out: a key,
ctrl-C, SIGTERM or an error.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType

from rich.live import Live

from swarmd.cli import answers, views
from swarmd.cli.client import CALL_SECONDS, stream
from swarmd.cli.feed import Feed
from swarmd.cli.keys import key_mode, read_keys
from swarmd.cli.output import console, words
from swarmd.cli.views import VIEWS, Screen
from swarmd.paths import Paths
from swarmd.protocols.control import RunView
from swarmd.protocols.errors import DaemonUnreachable

TICK_SECONDS = 1.0
FRAME_SECONDS = 0.1
"""Between two pictures at least: news may come faster than eyes."""
SPEEDS_KEPT = 600
"""Samples of tokens a second that the sparkline spans."""
_TERMINATED = 128 + signal.SIGTERM
_ONCE_SIZE = 100, 40


def show(paths: Paths, run: str | None, *, every: float = 0.5, until_over: bool = False) -> RunView | None:
    """Watch until ``q``, or until the run is over if that is asked; the run as it was last seen.

    Raises DaemonUnreachable when no daemon answers.
    """
    feed = Feed(paths, run, every)
    try:
        Dashboard(feed, until_over=until_over).loop()
    finally:
        feed.close()
    last = feed.snapshot.run if feed.snapshot else None
    if last is not None:
        words(views.last_word(last))
    return last


def print_once(paths: Paths, run: str | None) -> None:
    """Print one frame."""
    for result in stream(paths, "watch", idle=CALL_SECONDS, run=run, every=1.0):
        snapshot = answers.snapshot(result)
        printer = console()
        width, height = (printer.width, printer.height - 1) if printer.is_terminal else _ONCE_SIZE
        frame = views.render(snapshot, Screen(speeds=_speed_of(snapshot.run)), width, height)
        return printer.print(frame, width=width, height=height)
    raise DaemonUnreachable("the daemon sent no snapshot", hint="swarmd doctor")


class Dashboard:
    """The screen's state and the loop that keeps it."""

    def __init__(self, feed: Feed, *, until_over: bool = False) -> None:
        """Nothing is drawn before ``loop``."""
        self._feed, self._until_over = feed, until_over
        self._screen = Screen()
        self._speeds: deque[float] = deque(maxlen=SPEEDS_KEPT)
        self._drawn = self._shown = feed.snapshot
        self._next_frame = 0.0
        self._run = ""
        self._open = True

    def loop(self) -> None:
        """Draw and react until the person quits, or the run is over if that is enough."""
        keyboard = sys.stdin.fileno()
        live = Live(console=console(), screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False)
        with _signals() as resized, key_mode(keyboard), live:
            self._draw(live)
            while self._open and not (self._until_over and self._feed.ended):
                self._feed.keep_up()
                if self._react(keyboard, resized) or time.monotonic() >= self._next_frame:
                    self._draw(live)

    def press(self, key: str) -> None:
        """What a key does to the screen."""
        if key == "q":
            self._open = False
        elif key == "p":
            self._screen = replace(self._screen, paused=not self._screen.paused)
        elif key in ("?", "esc"):
            self._screen = replace(self._screen, help=key == "?" and not self._screen.help)
        elif chosen := _view_for(key, self._screen.view):
            self._screen = replace(self._screen, view=chosen, help=False)

    def _react(self, keyboard: int, resized: int) -> bool:
        """Wait for something, and take it in. True when it should be seen at once."""
        channel = self._feed.channel
        waited = [keyboard, resized, *([channel.fileno()] if channel else [])]
        wait = TICK_SECONDS if self._shown is self._feed.snapshot else FRAME_SECONDS
        ready, _, _ = select.select(waited, [], [], wait)
        if resized in ready:
            os.read(resized, 1024)
        if keyboard in ready:
            keys = read_keys(keyboard)
            self._open = bool(keys)
            for key in keys:
                self.press(key)
        if channel and channel.fileno() in ready and self._feed.receive():
            self._remember_speed()
        return keyboard in ready or resized in ready

    def _remember_speed(self) -> None:
        run = self._feed.snapshot.run if self._feed.snapshot else None
        if run is not None and run.run != self._run:
            self._run = run.run
            self._speeds.clear()
        self._speeds.extend(_speed_of(run))

    def _draw(self, live: Live) -> None:
        self._shown = self._feed.snapshot
        self._next_frame = time.monotonic() + FRAME_SECONDS
        if not self._screen.paused:
            self._drawn = self._shown
        screen = replace(self._screen, speeds=tuple(self._speeds), notice=self._feed.notice)
        size = live.console.size
        live.update(views.render(self._drawn, screen, size.width, size.height), refresh=True)


def _view_for(key: str, now: str) -> str:
    if key in ("tab", "shift-tab"):
        step = 1 if key == "tab" else -1
        return VIEWS[(VIEWS.index(now) + step) % len(VIEWS)]
    return dict(zip("1234", VIEWS, strict=True)).get(key, "")


def _speed_of(run: RunView | None) -> tuple[float, ...]:
    return (run.tokens_per_s,) if run is not None and run.state == "training" else ()


@contextmanager
def _signals() -> Iterator[int]:
    """A descriptor that becomes readable when the window changes; SIGTERM unwinds the stack.

    Suspending is off: a shell would be left with our screen.
    """
    reader, writer = os.pipe()
    os.set_blocking(writer, False)

    def wake(_: int, __: FrameType | None) -> None:
        os.write(writer, b"\0")

    before = {
        signal.SIGWINCH: signal.signal(signal.SIGWINCH, wake),
        signal.SIGTERM: signal.signal(signal.SIGTERM, _terminate),
        signal.SIGTSTP: signal.signal(signal.SIGTSTP, signal.SIG_IGN),
    }
    try:
        yield reader
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(reader)
        os.close(writer)


def _terminate(_: int, __: FrameType | None) -> None:
    raise SystemExit(_TERMINATED)
