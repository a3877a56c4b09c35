"""An estimate as people read it."""

from __future__ import annotations

from typing import Any

from rich.text import Text

from swarmd.cli import units
from swarmd.protocols.ledger.amounts import format_credits


def report(answer: dict[str, Any]) -> Text:
    """What it costs, how long it takes at least, who may take part, and why others may not."""
    budget = int(answer["max_credits"])
    rows = [
        ("cost", str(answer["words"])),
        ("budget", f"{format_credits(budget)} credits" if budget else "none: only peers that ask nothing take part"),
        ("work", f"{units.scaled(answer['operations'])} operations, {answer['tokens']:,} tokens"),
        ("time", f"at least {units.duration(answer['seconds'])}" if answer["seconds"] is not None else units.DASH),
        ("peers", f"{len(answer['fit'])} may take part"),
        *(("", f"perhaps {reason}") for reason in answer["may_refuse"]),
        *(("", f"not {reason}") for reason in answer["left_out"]),
    ]
    return Text("\n".join(f"{name:<8}{words}".rstrip() for name, words in rows))
