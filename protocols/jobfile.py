"""Reading a job file: TOML text in, one frozen value out, or every mistake in it with its line.

Pure: no file is opened. A mistake reads ``job.toml:12: model.heads = 5: what is wrong; what would be right``.
"""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches
from typing import Any, cast

from swarmd.protocols.errors import JobFileError
from swarmd.protocols.jobbuild import build_job
from swarmd.protocols.jobrules import job_faults
from swarmd.protocols.jobschema import BY_NAME, BY_SPEC, OTHER_NAMES, TABLES, Setting, keys_of
from swarmd.protocols.jobtables import JobFile
from swarmd.protocols.jobtext import decode_job, read_toml
from swarmd.protocols.jobvalues import printable, read_value, show
from swarmd.protocols.specrules import Fault
from swarmd.protocols.toml_lines import first_lines, line_of

__all__ = ["JobFile", "decode_job", "parse_job"]

MAX_PROBLEMS = 100
MAX_NAME = 80


def parse_job(text: str, path: str) -> JobFile:
    """A job file's text as one value. ``path`` is only for messages, and for the name a file does not give.

    Raises:
        JobFileError: one line per mistake, all of them, in the order of the file.
    """
    reading = _Reading(text, path)
    reading.read(read_toml(text, path))
    job = reading.finish()
    if reading.problems:
        raise JobFileError(path, reading.report())
    return job


class _Reading:
    """One pass over one file: the settings that are in order, and what is wrong with the others."""

    def __init__(self, text: str, path: str) -> None:
        self.problems: list[tuple[int, str]] = []
        self._path = path
        self._lines = first_lines(text)
        self._given: dict[str, Setting] = {}
        self._present: set[str] = set()

    def read(self, document: dict[str, Any]) -> None:
        """Take every setting of the file."""
        for name, value, problem in _walk(document):
            if problem is not None:
                self._add(name, f"{printable(name[:MAX_NAME])} = {show(value)}: {problem}")
                self._present.add(name)
            else:
                self._take(name, value)

    def finish(self) -> JobFile:
        """The job, and its problems between settings, leaving out those that follow from others."""
        job = build_job(self._given, self._path)
        wrong = self._present - self._given.keys()
        wrong |= {name for name in BY_NAME if name.partition(".")[0] in wrong}
        for fault in job_faults(job, frozenset(self._present)):
            involved = [_file_name(field) for field in (fault.field, *fault.involves)]
            if wrong.isdisjoint(involved):
                self._add_fault(fault, involved)
        return job

    def report(self) -> tuple[str, ...]:
        """One line per problem, in the order of the file, the first hundred."""
        lines = [f"{self._path}:{line}: {words}" for line, words in sorted(self.problems)]
        more = len(lines) - MAX_PROBLEMS
        return (*lines[:MAX_PROBLEMS], *([f"{self._path}: and {more} more"] if more > 0 else []))

    def _take(self, name: str, value: object) -> None:
        self._present.add(name)
        setting, problem = read_value(BY_NAME[name], value)
        if name == "model.tie_word_embeddings" and setting is True:
            problem = "not built yet; remove it: embedding and head have weights of their own"
        if problem is None:
            self._given[name] = setting
        else:
            self._add(name, f"{name} = {show(value)}: {problem}")

    def _add_fault(self, fault: Fault, involved: list[str]) -> None:
        """A broken rule stands on the line of the setting it names, else of one that led to its default."""
        name = involved[0]
        at = next((other for other in involved if other in self._present), name)
        if name in TABLES:
            self._add(name, f"{name}: {fault.problem}")
        else:
            given = "" if at == name else " (the default)"
            self._add(at, f"{name} = {show(fault.value)}{given}: {fault.problem}")

    def _add(self, name: str, words: str) -> None:
        self.problems.append((line_of(self._lines, name), words))


def _walk(document: dict[str, Any]) -> Iterator[tuple[str, object, str | None]]:
    """Every setting as (dotted name, value, None), and what cannot be one as (name, value, problem)."""
    for key, value in document.items():
        if key not in TABLES:
            known = key in BY_NAME and "." not in key
            yield key, value, None if known else _unknown(key, "")
        elif not isinstance(value, dict):
            yield key, value, f"must be a table; write [{key}] and its settings below it"
        else:
            for inner, setting in cast("dict[str, object]", value).items():
                name = f"{key}.{inner}"
                known = name in BY_NAME
                yield name, setting, None if known else _unknown(inner, key)


def _unknown(key: str, table: str) -> str:
    known = keys_of(table) + ([] if table else list(TABLES))
    where = f"[{table}]" if table else "the top level"
    if (other := OTHER_NAMES.get(key)) is not None:
        return f"no such setting; here it is {_place(other, table)}"
    if close := get_close_matches(key[:MAX_NAME], known, n=1, cutoff=0.7):
        return f"no such setting; did you mean {_spelled(close[0], table)}?"
    if elsewhere := [name for name in BY_NAME if name.rpartition(".")[2] == key]:
        return f"no such setting; it belongs {' or '.join(_under(name) for name in elsewhere)}"
    return f"no such setting; {where} has {', '.join(_spelled(name, table) for name in known)}"


def _spelled(name: str, table: str) -> str:
    return f"[{name}]" if not table and name in TABLES else name


def _place(name: str, table: str) -> str:
    within, _, key = name.rpartition(".")
    return key if within == table else f"{key}, {_under(name)}"


def _under(name: str) -> str:
    table = name.rpartition(".")[0]
    return f"under [{table}]" if table else "at the top, before the first [table]"


def _file_name(field: str) -> str:
    return BY_SPEC[field].dotted if field in BY_SPEC else field
