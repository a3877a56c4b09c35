"""Waiting for an entry of our account to become final, with words while it takes long."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

from swarmd.cli import answers, units
from swarmd.cli.client import Channel
from swarmd.cli.output import INTERRUPTED, emit, is_live, line, words
from swarmd.paths import Paths
from swarmd.protocols.control import as_json as object_of
from swarmd.protocols.control_credits import FINAL, QUEUED, WriteView
from swarmd.protocols.errors import DaemonUnreachable, TimedOut

TICK_SECONDS = 1.0
QUIET_SECONDS = 2.0
"""No word before: most entries are final by then."""
_LOST = "; it is lost if the daemon is stopped before that"
_ERASE = "\r\x1b[K"


@dataclass(frozen=True, slots=True)
class Writing:
    """What is being written, for the sentences about it."""

    method: str
    what: str
    """"the payment"."""
    done: str
    """"5 credits paid to ..."."""


def write(paths: Paths, writing: Writing, *, wait: bool, as_json: bool, **params: object) -> int:
    """Ask the daemon to write, and stay until the entry is final. The exit code; the entry's id goes to stdout.

    Raises what the daemon refuses with, or DaemonUnreachable if it ends meanwhile.
    """
    began, last, heard = time.monotonic(), WriteView(state=QUEUED), False
    told = _Told()
    try:
        with Channel(paths, writing.method, params) as channel:
            while not _over(last, wait, heard):
                news = _next(channel)
                last, heard = news or last, heard or news is not None
                told.tell(last, time.monotonic() - began)
    except KeyboardInterrupt:
        told.clear()
        words(_left(writing, last))
        return INTERRUPTED
    told.clear()
    return _say(writing, last, time.monotonic() - began, as_json=as_json)


def sentence(view: WriteView) -> str:
    """How far an entry has come."""
    if view.state == QUEUED:
        return "not signed yet" + (f": {view.why}" if view.why else "")
    if view.pending is None:
        return f"entry {view.seq} is signed"
    votes = f"votes of weight {view.pending.weight} of {view.pending.quorum}"
    return f"entry {view.seq} is signed, {votes}" + (f": {view.pending.why}" if view.pending.why else "")


class _Told:
    """What was said so far: a line that is drawn again on a terminal, a line per change elsewhere."""

    def __init__(self) -> None:
        self._live, self._said, self._shown = is_live(sys.stderr), "", False

    def tell(self, view: WriteView, seconds: float) -> None:
        """Say how far it is, if it takes long."""
        if seconds < QUIET_SECONDS or view.state == FINAL:
            return
        text = sentence(view)
        if self._live:
            print(f"{_ERASE}{units.duration(seconds)}  {text}"[:200], end="", file=sys.stderr, flush=True)
            self._shown = True
        elif text != self._said:
            self._said = text
            words(text)

    def clear(self) -> None:
        """Take the drawn line away."""
        if self._shown:
            print(_ERASE, end="", file=sys.stderr, flush=True)


def _next(channel: Channel) -> WriteView | None:
    """The newest word of the daemon; None if there was none for a while."""
    try:
        results = channel.receive(TICK_SECONDS)
    except TimedOut:
        return None
    if channel.ended and not results:
        raise DaemonUnreachable(
            "the daemon ended meanwhile; an entry that was signed goes on when it is started again",
            hint="swarmd up, then: swarmd wallet history",
        )
    return answers.write(results[-1]) if results else None


def _over(view: WriteView, wait: bool, heard: bool) -> bool:
    """Without ``wait`` the daemon's first word is enough: it comes once the write is signed, or has to wait."""
    return view.state == FINAL or (heard and not wait)


def _left(writing: Writing, view: WriteView) -> str:
    if view.state == QUEUED:
        return f"{writing.what} was not signed yet; it may still be{_LOST}\n  next: swarmd wallet balance"
    goes_on = f"{writing.what} goes on: entry {view.seq} is signed and becomes final by itself"
    return f"{goes_on}\n  next: swarmd wallet explain {view.seq}"


def _say(writing: Writing, view: WriteView, seconds: float, *, as_json: bool) -> int:
    if as_json:
        emit(object_of(view))
        return 0
    if view.state == QUEUED:
        words(f"{writing.what} waits, and is {sentence(view)}{_LOST}\n  next: swarmd wallet balance")
        return 0
    line(view.entry)
    if view.state == FINAL:
        words(f"{writing.done}: final after {seconds:.1f} s")
    else:
        words(f"{sentence(view)}\n  next: swarmd wallet explain {view.seq}")
    return 0
