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


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("", "the amount is empty"),
        ("  ", "the amount is empty"),
        ("0", "0 credits moves nothing"),
        ("0.000000", "0 credits moves nothing"),
        ("-1", "'-1' is below zero"),
        ("1e3", "'1e3' has an exponent"),
        ("1,5", "'1,5' has a comma"),
        ("1,000.5", "'1,000.5' has a comma"),
        ("0.0000001", "'0.0000001' has more than 6 decimals"),
        ("9223372036854.775808", "'9223372036854.775808' credits are too many"),
        ("9" * 5000, "'9{37}...' credits are too many"),
        ("much", "'much' is not a number of credits"),
        ("1.", "'1.' is not a number of credits"),
        (".5", "'.5' is not a number of credits"),
        ("\u0661", "is not a number of credits"),
    ],
)
def test_each_wrong_amount_is_told_what_is_wrong_with_it(text, wrong):
    with pytest.raises(UsageError, match=wrong) as caught:
        parse_credits(text)
    assert caught.value.hint


def test_zeros_that_say_nothing_are_no_decimals():
    assert parse_credits("0012.2500000000") == 12_250_000


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
