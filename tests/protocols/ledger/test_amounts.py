"""Amounts: whole micro-credits, spelled for people without losing a digit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarmd.protocols.errors import UsageError
from swarmd.protocols.ledger.amounts import MAX_AMOUNT, MICRO, check_amounts, format_credits, parse_credits


@pytest.mark.parametrize(
    ("text", "amount"),
    [
        ("12", 12 * MICRO),
        ("0.25", 250_000),
        (" 1.5 ", 1_500_000),
        ("0.000001", 1),
        ("8000000", 8 * MICRO**2),
    ],
)
def test_amounts_are_read(text, amount):
    assert parse_credits(text) == amount


@pytest.mark.parametrize("text", ["", "0", "-1", "1.", ".5", "1e3", "0.0000001", "9999999999999", "1,5", "\u0661x"])
def test_what_is_no_amount_is_said_to_be_none(text):
    with pytest.raises(UsageError, match="is not an amount of credits"):
        parse_credits(text)


@pytest.mark.parametrize(
    ("amount", "text"), [(0, "0"), (1, "0.000001"), (1_500_000, "1.5"), (-MICRO, "-1"), (12_345 * MICRO, "12,345")]
)
def test_amounts_are_written(amount, text):
    assert format_credits(amount) == text


@given(st.integers(1, MAX_AMOUNT))
def test_what_is_written_is_read_again(amount):
    assert parse_credits(format_credits(amount).replace(",", "")) == amount


def test_an_amount_has_63_bits():
    check_amounts(1, MAX_AMOUNT)
    check_amounts(0, least=0)
    for wrong in (0, -1, MAX_AMOUNT + 1):
        with pytest.raises(ValueError, match="an amount is"):
            check_amounts(wrong)
