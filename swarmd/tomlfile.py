"""A TOML file of the user's whose mistakes are reported by file and line."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarmd.protocols.errors import UsageError

MAX_FILE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class TomlFile:
    """The top-level values of a file, and where each stands."""

    path: Path
    values: dict[str, Any]
    text: str

    def where(self, key: str) -> str:
        """``FILE, line N`` of a top-level key."""
        spelling = re.compile(rf"""\s*(\[+\s*)?["']?{re.escape(key)}["']?\s*[=.\]]""")
        for number, line in enumerate(self.text.splitlines(), start=1):
            if spelling.match(line):
                return f"{self.path}, line {number}"
        return str(self.path)

    def only(self, known: Iterable[str]) -> None:
        """Refuse keys outside ``known``. Raises UsageError, with the nearest known key as the hint."""
        names = tuple(known)
        for key in self.values:
            if key not in names:
                raise UsageError(f"{self.where(key)}: there is no setting {key!r}", hint=nearest(key, names))


def nearest(word: str, known: Iterable[str]) -> str:
    """A hint for a misspelt word: the closest known one, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(names)}"


def read_toml(path: Path) -> TomlFile | None:
    """The file's top-level table, or None when there is no such file.

    Raises:
        UsageError: unreadable, over 1 MiB, not UTF-8 or not TOML.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}", hint=f"make {path} a file you can read") from error
    if len(raw) > MAX_FILE_BYTES:
        raise UsageError(f"{path} is over {MAX_FILE_BYTES} bytes", hint="a settings file is a few lines")
    return _parse(path, raw)


def _parse(path: Path, raw: bytes) -> TomlFile:
    try:
        text = raw.decode()
        return TomlFile(path, tomllib.loads(text), text)
    except UnicodeDecodeError as error:
        raise UsageError(f"{path} is not UTF-8 text: {error.reason}", hint="save it as UTF-8") from error
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{path} is not TOML: {error}", hint='a setting is written: name = "value"') from error
    except RecursionError as error:
        raise UsageError(f"{path} is nested too deep", hint="a settings file is a few lines") from error
