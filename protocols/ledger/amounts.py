"""Amounts: whole micro-credits, and their spelling for people."""

from __future__ import annotations

import re

from swarmd.protocols.errors import UsageError

MICRO = 1_000_000
"""Micro-credits in one credit."""
MAX_AMOUNT = (1 << 63) - 1

_SPELLING = re.compile(r"(\d{1,13})(?:\.(\d{1,6}))?")


def check_amounts(*amounts: int, least: int = 1) -> None:
    """Raises ValueError for an amount below ``least`` or beyond 63 bits."""
    if not all(least <= amount <= MAX_AMOUNT for amount in amounts):
        raise ValueError(f"an amount is {least} to 2^63 - 1 micro-credits")


def parse_credits(text: str) -> int:
    """Micro-credits of a text such as ``12`` or ``0.25``. Raises UsageError."""
    match = _SPELLING.fullmatch(text.strip())
    amount = int(match[1]) * MICRO + int((match[2] or "").ljust(6, "0")) if match else 0
    if not 0 < amount <= MAX_AMOUNT:
        raise UsageError(
            f"{text!r} is not an amount of credits", hint="write it like 12 or 0.25; the smallest is 0.000001"
        )
    return amount


def format_credits(amount: int) -> str:
    """``1.5`` for 1,500,000 micro-credits; no digits are lost."""
    sign, amount = ("-", -amount) if amount < 0 else ("", amount)
    whole, part = divmod(amount, MICRO)
    return f"{sign}{whole:,}.{part:06}".rstrip("0").rstrip(".")
