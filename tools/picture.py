"""Draw docs/dashboard.svg from a recorded snapshot.

swarmd top RUN --once --json >snapshot.json
.venv/bin/python tools/picture.py snapshot.json
"""

from __future__ import annotations

import io
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI

from swarmd.cli import answers
from swarmd.cli.views import Screen, render

WIDTH, HEIGHT = 110, 34
OUT = Path(__file__).parent.parent / "docs" / "dashboard.svg"


def main(recorded: Path) -> None:
    """Render one frame as the dashboard would, and save it as a picture."""
    snapshot = answers.snapshot(json.loads(recorded.read_text(encoding="utf-8").splitlines()[0]))
    rate = snapshot.run.tokens_per_s if snapshot.run else 0.0
    console = Console(record=True, width=WIDTH, height=HEIGHT, file=io.StringIO(), force_terminal=True)
    console.print(render(snapshot, Screen(speeds=(rate,) * 40), WIDTH, HEIGHT))
    OUT.write_text(console.export_svg(title="swarmd top", theme=MONOKAI), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
