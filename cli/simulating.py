"""A simulation as people read it."""

from __future__ import annotations

from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from swarmd.cli import tables, units
from swarmd.cli.palette import DIM, STRONG

_COLUMNS = (">computes ms", ">sends ms", ">computing", ">sending", ">held", ">credit")


def report(answer: dict[str, Any]) -> Group:
    """The plan with its reasons, what it would do, and what bounds it."""
    plan = answer["plan"]
    notes = [*(stage["reason"] for stage in plan["stages"]), *plan["left_out"]]
    return Group(
        tables.grid(_figures(answer)),
        Text(),
        _stages(plan["stages"]),
        Text(),
        *(Text(note, style=DIM) for note in notes),
    )


def _figures(answer: dict[str, Any]) -> list[tuple[str, str | Text]]:
    job, share = answer["job"], answer["ratio"]
    speed = f"{units.speed(answer['tokens_per_s'])} tokens/s, {units.percent(share)} of what its slowest stage could do"
    return [
        ("job", f"{job['name']}: {units.scaled(job['parameters'])} parameters, {job['layers']} layers"),
        ("wire", job["wire"]),
        ("batch", job["batch"]),
        ("plan", answer["plan"]["summary"]),
        ("speed", Text(speed, style=STRONG)),
        ("step", f"{answer['step_seconds']:.3g} s for {job['tokens_per_step']:,} tokens"),
        ("run", f"{units.duration(answer['run_seconds'])}, without evaluations and optimizer steps"),
        ("bound by", answer["bound"]["reason"]),
    ]


def _stages(stages: list[dict[str, Any]]) -> Table:
    table = tables.columns(
        "stage", "layers", "peer", ">computes ms", ">sends ms", ">computing", ">sending", ">held", ">credit"
    )
    for number, stage in enumerate(stages):
        for peer in stage["peers"]:
            table.add_row(
                str(number),
                f"{stage['first']}{units.DASH}{stage['end'] - 1}",
                peer["name"],
                units.milliseconds(1000 * peer["compute_seconds"]),
                units.milliseconds(1000 * peer["uplink_seconds"]),
                units.percent(peer["computing"]),
                units.percent(peer["sending"]),
                str(peer["held"]),
                str(peer["credit"]),
            )
    return table
