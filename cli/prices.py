"""What others say that computing costs, and how far that compares with what a run cost here."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from swarmd.cli import tables, units
from swarmd.cli.palette import DIM
from swarmd.protocols.errors import UsageError
from swarmd.protocols.ledger.amounts import MICRO

FILE = "prices.toml"
MAX_BYTES, MAX_PRICES = 1 << 16, 100
LABEL = "claims of others, as dated; none of them measured here"
_TEXTS = ("what", "currency", "date", "source")
_FIELDS = (*_TEXTS, "per", "low", "high", "tokens_per_s")
_PER = "GPU-hour"


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """What a card costs by the hour, by somebody's word."""

    what: str
    low: float
    high: float
    currency: str
    date: str
    source: str
    tokens_per_s: float | None
    """Of the owner's own model on that card, by the owner's measurement."""

    def per_million(self, price: float) -> float | None:
        """Money for a million tokens at this price an hour; None without a speed."""
        return price / 3600 / self.tokens_per_s * 1e6 if self.tokens_per_s else None


@dataclass(frozen=True, slots=True)
class Cost:
    """What a run cost."""

    invoiced: int
    tokens: int
    """Trained."""
    credit_value: float
    """In ``currency``; 0: the owner has said nothing."""
    currency: str

    @property
    def per_million(self) -> float:
        """Money for a million tokens."""
        return self.invoiced / MICRO * self.credit_value / self.tokens * 1e6


def price_file(state_dir: Path) -> Path:
    """The owner's own list if there is one, else the one that came with swarmd."""
    own = state_dir / FILE
    return own if own.exists() else Path(__file__).with_name(FILE)


def load_prices(path: Path) -> tuple[Price, ...]:
    """Read a list of prices. Raises UsageError that names the file and what is wrong in it."""
    try:
        with path.open("rb") as file:
            listed = tomllib.loads(file.read(MAX_BYTES).decode()).get("price", [])
    except (ValueError, OSError) as error:
        raise _wrong(path, str(error)) from error
    if not isinstance(listed, list) or len(listed) > MAX_PRICES:
        raise _wrong(path, f"it holds [[price]] tables, {MAX_PRICES} at most")
    return tuple(_price(each, f"price {number}", path) for number, each in enumerate(listed, 1))


def price_table(prices: tuple[Price, ...]) -> Table:
    """The list."""
    table = tables.columns("what", ">price an hour", ">your tok/s", "said in", "by")
    for price in prices:
        speed = units.speed(price.tokens_per_s) if price.tokens_per_s else units.DASH
        table.add_row(price.what, _range(price, price.low, price.high), speed, price.date, price.source)
    return table


def comparison(cost: Cost, prices: tuple[Price, ...]) -> RenderableType:
    """What a million tokens cost here, and by others' prices where the two can be compared."""
    if not cost.tokens or not cost.invoiced:
        return Text("not compared with prices elsewhere: nothing was paid for here", style=DIM)
    credits = units.credits(round(cost.invoiced / cost.tokens * 1e6))
    if not cost.credit_value:
        why = f"a million tokens cost {credits}; not compared with prices in money: credit_value is not set"
        return Text(why, style=DIM)
    here = f"{units.money(cost.per_million, cost.currency)}  ({credits} at {cost.credit_value:g} {cost.currency} each)"
    able = [price for price in prices if price.tokens_per_s and price.currency == cost.currency]
    rows = [("a million tokens here", here), *((f"… {price.what}", _elsewhere(price)) for price in able)]
    return Group(tables.grid(rows), *(Text(line, style=DIM) for line in _limits(cost, prices, able)))


def _limits(cost: Cost, prices: tuple[Price, ...], able: list[Price]) -> list[str]:
    """What the comparison does not say, in plain words."""
    lines = [f"prices elsewhere: {LABEL} (swarmd prices)"] if able else []
    foreign = sum(price.currency != cost.currency for price in prices)
    silent = sum(not price.tokens_per_s for price in prices)
    if silent:
        lines.append(
            f"{silent} of {len(prices)} listed prices cannot be compared: they are by the hour, and how many tokens "
            "of this model an hour brings there is not known; tokens_per_s in prices.toml says it"
        )
    if foreign:
        lines.append(f"{foreign} of {len(prices)} are in another currency than {cost.currency}: not compared")
    return [*lines, "equal tokens are not equal quality: compare the losses too"] if able else lines


def _elsewhere(price: Price) -> str:
    low, high = price.per_million(price.low), price.per_million(price.high)
    if low is None or high is None:
        return units.DASH
    both = units.money(low, price.currency)
    if high > low:
        both = f"{both} {units.DASH} {units.money(high, price.currency)}"
    return f"{both}  ({price.source}, {price.date}; speed by you)"


def _range(price: Price, low: float, high: float) -> str:
    figures = f"{low:.2f}" if low == high else f"{low:.2f}{units.DASH}{high:.2f}"
    return f"{figures} {price.currency}"


def _price(fields: Any, where: str, path: Path) -> Price:  # noqa: ANN401 - whatever the file holds
    if not isinstance(fields, dict) or set(fields) - set(_FIELDS):
        raise _wrong(path, f"{where} may have {', '.join(_FIELDS)}")
    if not all(isinstance(fields.get(name), str) and 0 < len(fields[name]) <= 80 for name in _TEXTS):
        raise _wrong(path, f"{where} needs the texts {', '.join(_TEXTS)}")
    if fields.get("per") != _PER:
        raise _wrong(path, f'{where} needs per = "{_PER}"')
    low = _positive(fields.get("low"), f"{where} needs a positive low", path)
    high = _positive(fields.get("high", low), f"{where} needs a positive high", path)
    speed = fields.get("tokens_per_s")
    measured = None if speed is None else _positive(speed, f"{where} needs a positive tokens_per_s", path)
    return Price(**{name: fields[name] for name in _TEXTS}, low=low, high=max(low, high), tokens_per_s=measured)


def _positive(value: Any, otherwise: str, path: Path) -> float:  # noqa: ANN401 - whatever the file holds
    if type(value) in (int, float) and 0 < value < 1e12:
        return float(value)
    raise _wrong(path, otherwise)


def _wrong(path: Path, words: str) -> UsageError:
    return UsageError(f"{path}: {words}", hint="correct the file, or delete it to read the one that came with swarmd")
