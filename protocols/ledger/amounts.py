"""Amounts: whole micro-credits, and their spelling for people."""

from __future__ import annotations

import re

from swarmd.protocols.errors import UsageError

MICRO = 1_000_000
"""Micro-credits in one credit."""
MAX_AMOUNT = (1 << 63) - 1

_SPELLING = re.compile(r"(\d+)(?:\.(\d+))?")
_EXPONENT = re.compile(r"[+-]?\d+(?:\.\d+)?[eE][+-]?\d+")
_COMMAS = re.compile(r"\d+(?:,\d+)+(?:\.\d+)?")
_PLACES = 6
_USUAL = "write it like 12 or 0.25"


def check_amounts(*amounts: int, least: int = 1) -> None:
    """Raises ValueError for an amount below ``least`` or beyond 63 bits."""
    if not all(least <= amount <= MAX_AMOUNT for amount in amounts):
        raise ValueError(f"an amount is {least} to 2^63 - 1 micro-credits")


def parse_credits(text: str) -> int:
    """Micro-credits of a text such as ``12`` or ``0.25``. Raises UsageError, which says what is wrong with it."""
    given = text.strip()
    match = _SPELLING.fullmatch(given) if given.isascii() else None
    if match is None:
        raise _misspelt(given)
    whole, part = match[1].lstrip("0"), (match[2] or "").rstrip("0")
    if len(part) > _PLACES:
        raise UsageError(
            f"{_shown(given)} has more than {_PLACES} decimals", hint="the smallest amount is 0.000001 credits"
        )
    amount = int(f"{whole[:20] or '0'}{part.ljust(_PLACES, '0')}")
    if amount > MAX_AMOUNT:
        raise UsageError(f"{_shown(given)} credits are too many", hint=f"the most is {MAX_AMOUNT // MICRO} credits")
    if not amount:
        raise UsageError("an amount of 0 credits moves nothing", hint="the smallest amount is 0.000001 credits")
    return amount


def format_credits(amount: int) -> str:
    """``1.5`` for 1,500,000 micro-credits; no digits are lost."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, part = divmod(amount, MICRO)
    return f"{sign}{whole:,}.{part:06}".rstrip("0").rstrip(".")


def _misspelt(given: str) -> UsageError:
    """What keeps a text from being a number of credits."""
    if not given:
        return UsageError("the amount is empty", hint=_USUAL)
    if given.startswith("-"):
        return UsageError(f"{_shown(given)} is below zero", hint="an amount is positive: write it like 12 or 0.25")
    if _EXPONENT.fullmatch(given):
        return UsageError(f"{_shown(given)} has an exponent", hint="write all its digits, as 1000 for 1e3")
    if _COMMAS.fullmatch(given):
        return UsageError(
            f"{_shown(given)} has a comma", hint="decimals come after a point, and thousands stand together: 1234.5"
        )
    return UsageError(f"{_shown(given)} is not a number of credits", hint=_USUAL)


def _shown(given: str) -> str:
    """As it was typed, of a length that a line bears."""
    return repr(given if len(given) <= 40 else f"{given[:37]}...")
