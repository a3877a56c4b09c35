"""One line of ``swarmd doctor``."""

from __future__ import annotations

from dataclasses import dataclass

OK, WARN, FAIL = "ok", "warn", "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found. ``fix`` says what to type or change; empty when all is well."""

    name: str
    level: str
    text: str
    fix: str = ""


def ok(name: str, text: str) -> Finding:
    """All is well."""
    return Finding(name, OK, text)


def warn(name: str, text: str, fix: str) -> Finding:
    """It works, but not as well as it could."""
    return Finding(name, WARN, text, fix)


def fail(name: str, text: str, fix: str) -> Finding:
    """It cannot work like this."""
    return Finding(name, FAIL, text, fix)
