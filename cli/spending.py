"""What a run costs while it runs, and what a node earns: the lines on other screens."""

from __future__ import annotations

from rich.text import Text

from swarmd.cli import units
from swarmd.cli.palette import BAD, DIM, STRONG, WARN
from swarmd.protocols.control_credits import CreditsView, SpendingView
from swarmd.protocols.ledger.amounts import format_credits


def spending_rows(spending: SpendingView | None) -> list[tuple[str, str | Text]]:
    """What a run costs, name by name; nothing where nothing is paid for."""
    if spending is None:
        return []
    left = Text(units.credits(spending.left), style=WARN if spending.left <= 0 else "")
    return [
        ("estimate", units.credits(spending.estimate)),
        ("spent", units.credits(spending.spent)),
        ("locked", f"{units.credits(spending.locked)}  set aside for its providers"),
        ("left", Text.assemble(left, "  of its budget")),
    ]


def spending_line(spending: SpendingView) -> Text:
    """The same in one line, for the dashboard."""
    line = Text("credits", style=DIM, no_wrap=True, overflow="ellipsis")
    for name, amount in (
        ("spent", spending.spent),
        ("of about", spending.estimate),
        ("locked", spending.locked),
        ("left", spending.left),
    ):
        style = BAD if name == "left" and amount <= 0 else STRONG
        line.append(f"  {name} ", DIM).append(format_credits(amount), style)
    return line


def credits_line(credits: CreditsView) -> str:
    """A node's account in one line."""
    parts = [
        units.credits(credits.balance),
        *([f"{format_credits(credits.locked)} set aside"] if credits.locked else []),
        *([f"{format_credits(credits.bonded)} staked"] if credits.bonded else []),
        f"earned {format_credits(credits.final)}, {format_credits(credits.pending)} pending",
    ]
    return "; ".join(parts)
