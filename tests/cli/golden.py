"""The dashboard's pictures as text files. ``python -m tests.cli.golden`` draws them anew."""

from __future__ import annotations

import io
import os
import time
from pathlib import Path

from rich.console import Console

from swarmd.cli.views import Screen, render
from swarmd.protocols.control import RunView
from tests.cli import credit_snapshots, snapshots

FOLDER = Path(__file__).parent / "golden"
SIZES = ((100, 30), (140, 40), (60, 15))
RUNS: dict[str, RunView | None] = {
    "none": None,
    "preparing": snapshots.preparing(),
    "training": snapshots.training(),
    "failed": snapshots.failed(),
    "done": snapshots.done(),
    "paid": credit_snapshots.paid_run(),
}
SPEEDS = tuple(11_000.0 + 40 * abs(step % 50 - 25) for step in range(120))


def draw(run: RunView | None, screen: Screen, width: int, height: int) -> str:
    """One frame as text."""
    console = Console(file=io.StringIO(), width=width, height=height, color_system=None, legacy_windows=False)
    console.print(render(snapshots.snapshot(run), screen, width, height), height=height)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def pictures() -> dict[str, str]:
    """Every picture by its file's name."""
    overview = Screen(speeds=SPEEDS)
    sizes = {
        f"{name}-{width}x{height}.txt": draw(run, overview, width, height)
        for name, run in RUNS.items()
        for width, height in SIZES
    }
    views = {
        f"{view}-100x30.txt": draw(snapshots.training(), Screen(view=view), 100, 30)
        for view in ("stages", "peers", "events")
    }
    return {**sizes, **views, "help-100x30.txt": draw(snapshots.training(), Screen(help=True), 100, 30)}


if __name__ == "__main__":
    os.environ["TZ"] = "UTC"
    time.tzset()
    FOLDER.mkdir(exist_ok=True)
    for name, picture in pictures().items():
        (FOLDER / name).write_text(picture, encoding="utf-8")
