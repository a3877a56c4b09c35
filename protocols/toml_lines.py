"""On which line of a TOML text each key stands. ``tomllib`` reads values but forgets where they were.

This is no TOML reader: it is run on texts that ``tomllib`` accepted, or to explain one that it did not, and
never fails. Keys inside inline tables and arrays of tables are not told apart; ask for them and the line
of the key that holds them comes back.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass

_PART = r"""(?:[A-Za-z0-9_-]+|"(?:[^"\\\n]|\\.)*"|'[^'\n]*')"""
_DOTTED = rf"{_PART}(?:[ \t]*\.[ \t]*{_PART})*"
_HEADER = re.compile(rf"[ \t]*\[\[?[ \t]*({_DOTTED})[ \t]*\]")
_KEY = re.compile(rf"[ \t]*({_DOTTED})[ \t]*=")
_TOKEN = re.compile(
    r"""(?P<long>\"{3}|'{3})|"(?:[^"\\\n]|\\.)*"|'[^'\n]*'|(?P<comment>\#)|(?P<open>[\[{])|(?P<close>[\]}])|."""
)
MAX_PARTS = 64


@dataclass(frozen=True, slots=True)
class KeyLine:
    """A key or table header, fully qualified, and its line, counted from 1."""

    name: str
    line: int
    header: bool


def key_lines(text: str) -> Iterator[KeyLine]:
    """Every key and table header in the order of the text, repeats included."""
    state, table = _Open(), ""
    for number, line in enumerate(text.replace("\r\n", "\n").split("\n"), start=1):
        start = 0
        if not state.busy:
            if header := _HEADER.match(line):
                table = _plain(header[1])
                yield KeyLine(table, number, header=True)
                continue
            if key := _KEY.match(line):
                name = _plain(key[1])
                yield KeyLine(f"{table}.{name}" if table else name, number, header=False)
                start = key.end()
        state.feed(line, start)


def first_lines(text: str) -> dict[str, int]:
    """The line on which each key or table is first named; a dotted key names its tables too."""
    lines: dict[str, int] = {}
    for found in key_lines(text):
        parts = found.name.split(".")[:MAX_PARTS]
        for end in range(len(parts), 0, -1):
            lines.setdefault(".".join(parts[:end]), found.line)
    return lines


def line_of(lines: dict[str, int], name: str) -> int:
    """The line of a key, else of the nearest table around it, else 1."""
    while name and name not in lines:
        name = name.rpartition(".")[0]
    return lines.get(name, 1)


def repeated(text: str) -> tuple[KeyLine, KeyLine] | None:
    """The first key or header that stands twice: where it stood first, and again."""
    seen: dict[tuple[str, bool], KeyLine] = {}
    for found in key_lines(text):
        before = seen.setdefault((found.name, found.header), found)
        if before is not found:
            return before, found
    return None


class _Open:
    """What is still open at the end of a line: brackets, or a string of several lines."""

    def __init__(self) -> None:
        self.depth = 0
        self.quote = ""

    @property
    def busy(self) -> bool:
        return self.depth > 0 or bool(self.quote)

    def feed(self, line: str, at: int) -> None:
        while at < len(line):
            if self.quote:
                at = self._leave(line, at)
                continue
            token = _TOKEN.match(line, at)
            if token is None or token["comment"]:
                return
            self.quote = token["long"] or ""
            self.depth = max(0, self.depth + bool(token["open"]) - bool(token["close"]))
            at = token.end()

    def _leave(self, line: str, at: int) -> int:
        escapes = r"(?:[^\\]|\\.)*?" if self.quote == '"""' else ".*?"
        end = re.compile(escapes + re.escape(self.quote) + self.quote[0] + "{0,2}").match(line, at)
        if end is None:
            return len(line)
        self.quote = ""
        return end.end()


def _plain(dotted: str) -> str:
    return ".".join(_unquoted(part) for part in re.findall(_PART, dotted))


def _unquoted(part: str) -> str:
    if part[0] not in "\"'":
        return part
    try:
        return next(iter(tomllib.loads(f"{part} = 0")))
    except tomllib.TOMLDecodeError:
        return part
