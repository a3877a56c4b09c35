"""A network and its committee, as tables for people."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from swarmd.protocols.ledger.amounts import format_credits

_UNITS = (("d", 86_400), ("h", 3600), ("m", 60))


def network(found: dict[str, Any]) -> Table:
    """What the genesis says."""
    table = Table.grid(padding=(0, 2))
    table.add_row("network", str(found["name"]))
    table.add_row("id", str(found["network"]))
    table.add_row("who may connect", "who has its pre-shared key" if found["private"] else "anybody")
    if not found["credits"]:
        table.add_row("credits", "none: work here is free")
        return table
    table.add_row("supply", f"{format_credits(found['supply'])} credits")
    for peer, amount in found["grants"]:
        table.add_row("", f"{format_credits(amount)} to {peer}")
    table.add_row("operator", str(found["operator"]))
    for index, (peer, weight) in enumerate(found["committee"]):
        table.add_row("" if index else "first committee", f"{peer}, weight {weight}")
    table.add_row("stake comes back", f"after {duration(found['cooldown'])}")
    table.add_row("expired lanes close", f"after {duration(found['grace'])}")
    return table


def committee(found: dict[str, Any]) -> Table:
    """Who votes now."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("member", "weight", ""):
        table.add_column(name, justify="right" if name == "weight" else "left")
    for peer, weight in found["members"]:
        roles = {"this node": found["us"], "operator": found["operator"]}
        table.add_row(str(peer), str(weight), ", ".join(word for word, who in roles.items() if who == peer))
    table.add_row("", str(found["weight"]), f"committee {found['number']}; {found['quorum']} certify")
    return table


def duration(seconds: int) -> str:
    """Such as ``14d`` or ``90s``: the largest unit that says it exactly."""
    return next((f"{seconds // size}{unit}" for unit, size in _UNITS if seconds and seconds % size == 0), f"{seconds}s")
