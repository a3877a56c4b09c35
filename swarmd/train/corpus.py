"""The text of a job, read in one stated order, and its split into training and held-out parts.

Order: sources as listed; inside a folder, files by their path relative to it, compared as bytes. From a
folder only files with a suffix in ``TEXT_SUFFIXES`` are read, and nothing whose name begins with a dot;
links inside it are not followed. JSON lines give one document per line, in order; empty lines are skipped.
Documents are joined by one empty line.

The embedded text is the language reference that CPython carries in ``pydoc_data.topics``, by topic name;
it differs between Python versions, so the spec names it by hash.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import cast

from swarmd.protocols.errors import NotFound, UsageError
from swarmd.protocols.jobtables import DataTable

MAX_TEXT_BYTES = 1 << 30
PROSE_SUFFIXES = (".txt", ".text", ".md", ".rst", ".org", ".adoc", ".tex", ".html")
CODE_SUFFIXES = (".py", ".c", ".h", ".cc", ".cpp", ".hpp", ".rs", ".go", ".js", ".ts", ".java", ".sh")
TEXT_SUFFIXES = frozenset((*PROSE_SUFFIXES, *CODE_SUFFIXES))
SEPARATOR = b"\n\n"


def read_corpus(data: DataTable, base: Path) -> bytes:
    """All text of a job as UTF-8. Relative paths start at ``base``.

    Raises:
        NotFound: a file or folder is not there.
        UsageError: unreadable, empty, not UTF-8, bad JSON, or over ``MAX_TEXT_BYTES``.
    """
    text = SEPARATOR.join(_bounded(_documents(data, base)))
    if not text.strip():
        raise UsageError("there is no text in the job's [data]", hint="name a file that has text in it")
    return text


def _documents(data: DataTable, base: Path) -> Iterator[bytes]:
    if data.embedded:
        yield from embedded_documents()
    for name in data.text:
        for file in text_files(base / name):
            yield _utf8(file, _read(file))
    for name in data.jsonl:
        yield from json_documents(base / name, data.field)


def embedded_documents() -> Iterator[bytes]:
    """CPython's own language reference, one document per topic."""
    from pydoc_data.topics import topics

    return (topics[name].encode() for name in sorted(topics))


def text_files(source: Path) -> list[Path]:
    """A file itself, or the text files below a folder, in order. Raises NotFound or UsageError."""
    if not source.is_dir():
        return [source]
    found: list[tuple[bytes, Path]] = []
    for folder, below, names in os.walk(source):
        below[:] = [name for name in below if not name.startswith(".")]
        for file in (Path(folder, name) for name in names if not name.startswith(".")):
            if file.suffix.lower() in TEXT_SUFFIXES and not file.is_symlink():
                found.append((os.fsencode(file.relative_to(source).as_posix()), file))
    if not found:
        raise UsageError(
            f"no text files in {source}", hint=f"files must end in one of {' '.join(sorted(TEXT_SUFFIXES))}"
        )
    return [file for _, file in sorted(found)]


def json_documents(file: Path, field: str) -> Iterator[bytes]:
    """One document per line: a field of a JSON object. Raises NotFound or UsageError naming the line."""
    for number, line in enumerate(_utf8(file, _read(file)).split(b"\n"), start=1):
        if line.strip():
            yield _json_text(line, field, f"{file}, line {number}")


def _json_text(line: bytes, field: str, where: str) -> bytes:
    try:
        item: object = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{where}: not JSON: {error}", hint="each line must be one JSON object") from error
    text = cast("dict[str, object]", item).get(field) if isinstance(item, dict) else None
    if not isinstance(text, str):
        hint = f"each line must be an object with text under {field!r}; data.field names another"
        raise UsageError(f"{where}: no text under {field!r}", hint=hint)
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"{where}: half a surrogate pair in {field!r}", hint="remove that line") from error


def _bounded(documents: Iterator[bytes]) -> Iterator[bytes]:
    total = 0
    for document in documents:
        total += len(document) + len(SEPARATOR)
        if total > MAX_TEXT_BYTES:
            raise UsageError(f"the text is over {MAX_TEXT_BYTES >> 20} MiB", hint="name fewer or smaller files")
        yield document


def _read(file: Path) -> bytes:
    try:
        if file.stat().st_size > MAX_TEXT_BYTES:
            raise UsageError(f"{file} is over {MAX_TEXT_BYTES >> 20} MiB", hint="split it and name a part")
        return file.read_bytes()
    except FileNotFoundError as error:
        raise NotFound(f"{file} is not there", hint="paths start at the job file's folder") from error
    except OSError as error:
        raise UsageError(f"cannot read {file}: {error.strerror}", hint="check its permissions") from error


def _utf8(file: Path, raw: bytes) -> bytes:
    try:
        raw.decode()
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise UsageError(
            f"{file} is not UTF-8: byte {error.start} (line {line}) is 0x{raw[error.start]:02x}",
            hint=f"convert it, for example: iconv -f latin1 -t utf-8 {file.name}",
        ) from error
    if not raw.strip():
        raise UsageError(f"{file} is empty", hint="name a file that has text in it")
    return raw
