"""Reading one table of a file of peers, field by field; a mistake names the field and what would be right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from swarmd.protocols.errors import UsageError
from swarmd.tomlfile import nearest

MAX_TEXT = 40
HINT = "docs/cli.md, under A simulation, says how peers are described"


@dataclass(frozen=True, slots=True)
class Fields:
    """Reads one table's fields, each by its rule."""

    where: str
    values: dict[str, Any]

    def only(self, known: tuple[str, ...]) -> None:
        """Refuse other fields."""
        for key in self.values:
            if key not in known:
                raise UsageError(f"{self.where}: there is no field {key!r}", hint=nearest(key, known))

    def wrong(self, field: str, rule: str) -> UsageError:
        """The error of a field that breaks a rule."""
        given = f"{field} = {self.values[field]!r:.60}" if field in self.values else f"{field} is not given"
        return UsageError(f"{self.where}: {given}: {rule}", hint=HINT)

    def read(self, field: str, rule: Callable[[object], Any]) -> Any:  # noqa: ANN401 - what the rule gives
        """A field by a rule that raises ValueError with what would be right."""
        try:
            return rule(self.values.get(field))
        except ValueError as error:
            raise self.wrong(field, f"must be {error}") from None

    def text(self, field: str) -> str:
        """A short printable text."""
        value = self.values.get(field)
        if isinstance(value, str) and 0 < len(value) <= MAX_TEXT and value.isprintable():
            return value
        raise self.wrong(field, f"must be a text of 1 to {MAX_TEXT} letters")

    def whole(self, field: str, most: int) -> int:
        """A whole number from 1; 1 if left out."""
        value = self.values.get(field, 1)
        if type(value) is int and 1 <= value <= most:
            return value
        raise self.wrong(field, f"must be a whole number from 1 to {most}")

    def number(
        self,
        field: str,
        *,
        positive: bool = False,
        most: float = 1e12,
        scale: float = 1.0,
        otherwise: float | None = None,
    ) -> float:
        """A number from 0 to ``most``, times ``scale``; ``otherwise`` if left out."""
        value = self.values.get(field)
        if value is None and otherwise is not None:
            return otherwise
        if type(value) in (int, float) and 0 <= (given := float(value or 0)) <= most and (given or not positive):
            return given * scale
        raise self.wrong(field, f"must be a number {'above 0' if positive else 'from 0'}, up to {most:g}")
