"""What the daemon tells: log lines for whoever keeps it running, events for whoever watches it.

Log records carry their facts as fields (``extra={"run": ...}``). On stderr they are lines for people; in
the log file, one JSON object a line. Text from other nodes cannot forge a line or move a cursor: control
characters are escaped and long values cut.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import sys
import time
from collections import deque
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any, TextIO

import trio

from swarmd.protocols.control import EventView
from swarmd.protocols.errors import StateError

MAX_TEXT = 2000
"""Characters of one message or field that are kept."""
MAX_TRACEBACK_LINES = 200
FILE_BYTES = 5 << 20
OLD_FILES = 3
"""Older log files kept beside the newest: 20 MiB in all."""
EVENTS_KEPT = 2000

_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_logger = logging.getLogger("swarmd.events")


def configure_log(level: str, *, file: Path | None = None, stream: TextIO | None = sys.stderr) -> None:
    """Send the records of every ``swarmd`` logger to a stream, to a rotating file, or to both.

    Raises:
        StateError: the file cannot be opened.
    """
    root = logging.getLogger("swarmd")
    for handler in tuple(root.handlers):
        root.removeHandler(handler)
        handler.close()
    root.setLevel(_LEVELS[level])
    root.propagate = False
    if stream is not None:
        _attach(root, logging.StreamHandler(stream), _LineFormatter())
    if file is not None:
        _attach(root, _open_file(file), _JsonFormatter())


def plain(text: str) -> str:
    """Text that is safe on a terminal and in one line of a log."""
    cut = text if len(text) <= MAX_TEXT else text[: MAX_TEXT - 1] + "…"
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in cut)


class EventLog:
    """The newest events, and a view of those to come. For the trio thread only.

    A fixed ring: when it is full the oldest event is dropped. A follower that falls more than the ring
    behind misses the oldest, and never holds up whoever adds.
    """

    def __init__(self, *, kept: int = EVENTS_KEPT, clock: Callable[[], float] = time.time) -> None:
        self._ring: deque[tuple[int, EventView]] = deque(maxlen=kept)
        self._clock = clock
        self._count = 0
        self._added = trio.Event()

    def info(self, text: str, *, run: str = "") -> None:
        """Something went as it should."""
        self._add("info", text, run)

    def warning(self, text: str, *, run: str = "") -> None:
        """Something to look at; work goes on."""
        self._add("warning", text, run)

    def error(self, text: str, *, run: str = "") -> None:
        """Something failed."""
        self._add("error", text, run)

    def recent(self, count: int, *, run: str | None = None) -> tuple[EventView, ...]:
        """The newest events, oldest first; of one run only if it is given."""
        chosen = [event for _, event in self._ring if run is None or event.run == run]
        return tuple(chosen[-count:]) if count > 0 else ()

    def subscribe(self, *, run: str | None = None, past: bool = True) -> AsyncGenerator[EventView, None]:
        """Events from now on, for ever, after those in the ring if ``past``. Close it with ``aclosing``."""
        return self._follow(run, 0 if past else self._count)

    async def _follow(self, run: str | None, first: int) -> AsyncGenerator[EventView, None]:
        while True:
            added, news = self._added, [event for number, event in self._ring if number >= first]
            first = self._count
            for event in news:
                if run is None or event.run == run:
                    yield event
            await added.wait()

    def _add(self, level: str, text: str, run: str) -> None:
        event = EventView(time=self._clock(), level=level, run=run, text=plain(text))
        self._ring.append((self._count, event))
        self._count += 1
        self._added.set()
        self._added = trio.Event()
        _logger.log(_LEVELS[level], "%s", event.text, extra={"run": run} if run else None)


class _LineFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        facts = "".join(f" {name}={plain(str(value))}" for name, value in _facts(record).items())
        line = f"{clock} {record.levelname.lower():7} {plain(record.getMessage())}{facts}"
        return f"{line}\n{_traceback(self, record)}" if record.exc_info else line


class _JsonFormatter(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": round(record.created, 3),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": plain(record.getMessage()),
            **{name: plain(str(value)) for name, value in _facts(record).items()},
        }
        if record.exc_info:
            line["traceback"] = _traceback(self, record)
        return json.dumps(line)


class _BoundedFile(logging.handlers.RotatingFileHandler):
    def handleError(self, record: logging.LogRecord) -> None:
        """A full disk costs the lines, not the daemon and not a traceback for each."""


def _open_file(file: Path) -> logging.Handler:
    try:
        return _BoundedFile(file, maxBytes=FILE_BYTES, backupCount=OLD_FILES, encoding="utf-8")
    except OSError as error:
        raise StateError(
            f"cannot write the log {file}: {error.strerror}", hint="choose a --state-dir you can write to"
        ) from error


def _attach(root: logging.Logger, handler: logging.Handler, formatter: logging.Formatter) -> None:
    handler.setFormatter(formatter)
    root.addHandler(handler)


def _traceback(formatter: logging.Formatter, record: logging.LogRecord) -> str:
    lines = formatter.formatException(record.exc_info).splitlines() if record.exc_info else []
    return "\n".join(map(plain, lines[-MAX_TRACEBACK_LINES:]))


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {name: value for name, value in vars(record).items() if name not in _STANDARD}
