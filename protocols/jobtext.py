"""From a job file's bytes to TOML values, with words and lines for files that are not TOML at all."""

from __future__ import annotations

import codecs
import re
import tomllib
from typing import Any

from swarmd.protocols.errors import JobFileError
from swarmd.protocols.toml_lines import repeated

MAX_JOB_BYTES = 1 << 20
ADVICE = {
    "Invalid value": '; text needs "quotes", a list needs [brackets]',
    "Invalid statement": "; a line is NAME = VALUE, [TABLE] or # COMMENT",
    "after a key": "; a line is NAME = VALUE, [TABLE] or # COMMENT",
}
"""What to try, by words of tomllib's message."""
_PLACE = re.compile(r"\s*\((?:at line (\d+), column \d+|at end of document)\)$")
_LONG_NUMBER = re.compile(r"\d[\d_]{4000,}")
_WIDE = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def decode_job(raw: bytes, path: str) -> str:
    """The text of a job file. Raises JobFileError: over 1 MiB, or not UTF-8."""
    if len(raw) > MAX_JOB_BYTES:
        raise _problem(path, 1, f"the file has {len(raw)} bytes; a job file has at most {MAX_JOB_BYTES}")
    if raw.startswith(_WIDE):
        raise _problem(path, 1, "the file is UTF-16; save it as UTF-8")
    try:
        return raw.removeprefix(codecs.BOM_UTF8).decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        words = f"byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        raise _problem(path, line, words) from error


def read_toml(text: str, path: str) -> dict[str, Any]:
    """The values of a TOML text. Raises JobFileError with the line: empty, too long, or not TOML."""
    if len(text) > MAX_JOB_BYTES:
        raise _problem(path, 1, f"the text has {len(text)} letters; a job file has at most {MAX_JOB_BYTES}")
    if not text.strip():
        raise _problem(path, 1, "the file is empty; the shortest job is [data] with embedded = true")
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise _problem(path, *_explained(text, str(error))) from error
    except RecursionError:
        raise _problem(path, 1, "brackets are nested too deep; a job has no such values") from None
    except ValueError as error:
        found = _LONG_NUMBER.search(text)
        line = text.count("\n", 0, found.start()) + 1 if found else 1
        raise _problem(path, line, "a number with thousands of digits; write a smaller one") from error


def _explained(text: str, message: str) -> tuple[int, str]:
    if message.startswith("Cannot") and (twice := repeated(text)):
        before, again = twice
        name = f"[{again.name}]" if again.header else again.name
        return again.line, f"{name} is already on line {before.line}; keep one of them"
    place = _PLACE.search(message)
    line = int(place[1]) if place and place[1] else text.rstrip().count("\n") + 1
    words = _PLACE.sub("", message)
    advice = next((advice for sign, advice in ADVICE.items() if sign in words), "")
    return line, f"not TOML: {words}{advice}"


def _problem(path: str, line: int, words: str) -> JobFileError:
    return JobFileError(path, (f"{path}:{line}: {words}",))
